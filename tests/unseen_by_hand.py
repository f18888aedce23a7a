"""Models as people write them by hand, of kinds that unseen_written.py has none of, written by others than its author and held out until they were first measured. ROWS as in unseen_models.py."""
import unseen_models  # noqa: F401 (it puts the tracer's folder on the path)
from unseen_written_sequences import ROWS as sequences
from unseen_written_vision import ROWS as vision

ROWS = {**vision, **sequences}

if __name__ == "__main__": print(*ROWS, sep="\n")
