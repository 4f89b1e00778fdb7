"""The orders, while the traffic is planned; `crashes` and `never_returns` at the invokes that such an order reaches.

One order in a hundred is broken: half of them as JSON, half in the type of a field.
"""

import json

from testbed import Poison

fault = Poison(every=100, kinds=("broken_json", "wrong_type"))

plan = fault.plan(seed=42, orders=3000)
assert len(plan.kinds) == 30

poisoned = next(index for index, kind in plan.kinds.items() if kind == "wrong_type")
order = {"id": f"order-{poisoned}", "quantity": 2}
assert json.loads(plan.body(poisoned, order)) == {"id": order["id"], "quantity": [2]}
