"""Serving: the gateway, audits of accepted steps, tuning and the doctor."""
