"""The demo: a shop, a pricing service and three payment nodes, and the story of an outage told twice."""
