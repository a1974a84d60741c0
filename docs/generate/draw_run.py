"""Draw docs/images/run.svg, the run that the README shows."""

from io import StringIO
from pathlib import Path

from dreamr_testbed import RECEIPT
from rich.console import Console
from rich.text import Text

from dreamr import Reasoner
from dreamr.cli.screen import Screen

OUT = Path(__file__).parents[1] / "images" / "run.svg"
QUESTION = "What do tea and milk cost together?"


def main() -> None:
    """Run the question and draw the terminal."""
    console = Console(
        file=StringIO(), record=True, width=96, force_terminal=True, highlight=False, markup=False
    )
    console.print(Text.assemble(("$ ", "dim"), f'dreamr run "{QUESTION}" -a receipt.png'))
    screen = Screen(console)
    with Reasoner() as reasoner:
        result = reasoner.ask(QUESTION, RECEIPT)
    for event in result.events:
        screen.show(event)
    screen.summary(result)
    console.print(result.answer)
    console.save_svg(str(OUT), title="dreamr run")


if __name__ == "__main__":
    main()
