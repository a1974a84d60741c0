"""A decoder in NumPy, for float32 on a CPU.

It is kept for as long as transformers' modules take more than 1.5 times as long. Torch's time
relative to NumPy's, for the bundled pair (processor time on one thread of an AMD EPYC, median of
nine turns on a busy machine, torch 2.13.0, `benchmarks/results/decode-decoders.json`):

    model     a token    a verdict    a token of eight streams
    target        4.3          1.7                         2.0
    draft         5.8          1.5                         1.6
"""
