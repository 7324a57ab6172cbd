"""All benchmarks, one after the other: `make bench`. What they find is kept in benchmarks/results.

The million resources of `benchmarks.scale` are left out here: they take a quarter of an hour more.
"""

from __future__ import annotations

from benchmarks import authorized, bulk, connections, index, load, releases, scale, terminology, validation, xml

if __name__ == "__main__":
    index.main()
    xml.main()
    validation.main([])
    bulk.main([])
    load.main(["--write"])
    authorized.main(["--write"])
    connections.main(["--write"])
    terminology.main()
    releases.main(["--concepts", "50000"])
    scale.main(["--sizes", "20000,100000", "--write"])
