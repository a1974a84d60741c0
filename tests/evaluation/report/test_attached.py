"""The report says what the problems of a bench have besides text."""

from dataclasses import replace

from dreamr.evaluation.report.attached import attached, described
from dreamr.evaluation.report.page import load_results, write_report
from support.samples import make_samples, write_folder

SAMPLES = make_samples(3, methods=("target", "fpsr"), tasks=("story", "vqa"))


def with_pages(samples):
    """Give the problems of vqa 1, 2 and 3 pages, and each a sound."""
    return [
        replace(s, attachments={"pages": s.index + 1, "sounds": 1}) if s.task == "vqa" else s
        for s in samples
    ]


def test_methods_share_their_problems():
    first = min(sample.index for sample in SAMPLES if sample.task == "vqa")
    total = sum(first + place + 1 for place in range(3))
    assert attached(with_pages(SAMPLES)) == {"story": {}, "vqa": {"pages": total, "sounds": 3}}
    ends = f"{first + 1} to {first + 3} pages, 1 sound"
    assert described(with_pages(SAMPLES)) == {"story": "", "vqa": ends}


def test_the_page_and_the_results_show_them(tmp_path):
    samples = [sample for sample in with_pages(SAMPLES) if sample.method == "target"]
    folder = write_folder(tmp_path / "bench", samples)  # one method: fewer plots
    page = write_report(folder).read_text(encoding="utf-8")
    assert page.count("Attachments of a problem: ") == 1
    assert "pages, 1 sound." in page
    assert '"attachments"' in (folder / "results.json").read_text()
    assert load_results(folder).tasks == ("story", "vqa")
