"""All benchmarks, one after the other: `make bench`."""

from __future__ import annotations

import sys

from benchmarks import bulk, index, load

if __name__ == "__main__":
    index.main()
    bulk.main([])
    load.main(sys.argv[1:])
