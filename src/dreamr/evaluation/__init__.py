"""Evaluation of methods: tasks, benchmarks, reports, calibration and the simulator."""
