# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that change nginx have in common: options, signals, and how a failure is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_store import CertificateError
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_change import SIGNALS, Options, tell
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import StrandedError, SwapError
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import NginxError


def stop(number: int, _frame: Any) -> None:
    raise SwapError(f"Stopped by signal {number}")


def options_of(params: dict[str, Any]) -> Options:
    if not 1 <= params["reload_seconds"] <= 3600:
        raise SwapError(f"reload_seconds: {params['reload_seconds']} is not a number from 1 to 3600")
    return Options(params["warnings"] == "accept", params["reload_seconds"])


def carry_out(module: AnsibleModule, reconcile: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        result = reconcile(module)
    except StrandedError as exc:
        module.fail_json(msg=str(exc))
    except (SwapError, NginxError, CertificateError) as exc:
        module.fail_json(msg=f"Nginx is as it was. {exc}")
    except OSError as exc:
        hint = "" if os.geteuid() == 0 else " Run it with become: true."
        module.fail_json(msg=f"Nginx is as it was. {tell(exc)}{hint}")
    for warning in result.pop("warned", []):
        module.warn(warning)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)
