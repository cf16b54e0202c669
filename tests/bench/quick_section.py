"""A command of a bench that measures at once: what it is to say stands in its arguments."""

import sys
import time

from bench.figure import at_least, at_most, parser_of, reading, tell


def main() -> None:
    parser = parser_of("tests.bench.quick_section", __doc__)
    parser.add_argument("--value", type=float, required=True)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--work", type=float, default=0.0, help="seconds of CPU")
    options = parser.parse_args()
    while time.process_time() < options.work:
        pass
    if options.fail:
        sys.exit("this section fails")
    figures = [
        reading("at most ten", options.value, "B", at_most(10)),
        reading("at least ten", options.value, "B", at_least(10)),
        reading("free", options.value, "s"),
    ]
    tell(options, figures, {"told by": options.value})


if __name__ == "__main__":
    main()
