"""Published benchmarks: their files as items, their rules as scorers."""

from dreamr.evaluation.tasks.public import mathverse, mmbench, mmmu, realworldqa
from dreamr.evaluation.tasks.public.benchmark import Benchmark
from dreamr.evaluation.tasks.public.table import ENDINGS, table

__all__ = ["BENCHMARKS", "ENDINGS", "Benchmark", "table"]

BENCHMARKS: dict[str, Benchmark] = {
    module.NAME: module.BENCHMARK for module in (mathverse, mmbench, realworldqa, mmmu)
}
