"""Settings on the virtual clock: what they mean (plan), and what becomes of calls in a scenario (simulate).

    from resilient_http.simulate import load_scenario, simulate

    result = simulate(settings, load_scenario("dead-node"))
    print(result.as_table())

The policies and their state are the real ones; only time, the network and the nodes are not.
"""

from resilient_http.simulate.plain import plain
from resilient_http.simulate.result import Result, table_of
from resilient_http.simulate.run import simulate
from resilient_http.simulate.scenario import Scenario, load_scenario, shipped

__all__ = ["Result", "Scenario", "load_scenario", "plain", "shipped", "simulate", "table_of"]
