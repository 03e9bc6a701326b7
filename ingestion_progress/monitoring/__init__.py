"""Health checks for load balancers and supervisors, and metrics for Prometheus."""
