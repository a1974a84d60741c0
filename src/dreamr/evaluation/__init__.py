"""What measures a method: tasks, benchmarks, reports, calibration, the simulator."""
