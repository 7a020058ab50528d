"""Let `ansible-test --venv` work where only a package index can be reached: seed_get_pip.py CACHE_FOLDER.

ansible-test installs pip with a script from a download host of Ansible's own, which it caches by pip's version. A
stand-in at that place starts from Python's own ensurepip and takes the rest from the index. A real one stays.
"""

from __future__ import annotations

import pathlib
import re
import sys

from ansible_test._internal import python_requirements

STAND_IN = """\
import subprocess
import sys

wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", *wanted])
"""

text = pathlib.Path(python_requirements.__file__).read_text(encoding="utf-8")
found = re.search(r"\bpip='([0-9.]+)'", text)
if not found:
    sys.exit("seed_get_pip: this ansible-test does not say which pip it wants; look at python_requirements.py")
script = pathlib.Path(sys.argv[1]) / f"get_pip_{found[1].replace('.', '_')}.py"
if not script.exists():
    script.write_text(STAND_IN, encoding="utf-8")
