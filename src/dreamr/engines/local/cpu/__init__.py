"""NumPy decoder, for float32 on a CPU.

It is kept as long as transformers' modules take more than 1.5 times as long. The table shows the
time of the modules divided by the time of this decoder for the bundled pair: processor time on one
thread of an AMD EPYC, median of nine rounds on a busy machine, torch 2.13.0
(`benchmarks/results/decode-decoders.json`).

    model     one token    one verdict    one token of each of eight streams
    target          4.3            1.7                                   2.0
    draft           5.8            1.5                                   1.6
"""
