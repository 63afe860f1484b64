"""``python -m txdagu``: the `dagu` command."""

import sys

from txdagu.cli import main

sys.exit(main())
