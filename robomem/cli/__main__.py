"""`python -m robomem.cli`, the same as `robomem`."""

from robomem.cli.main import main

raise SystemExit(main())
