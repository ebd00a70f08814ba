"""The intent control loop: signals, decisions, actions, verification. Knows nothing of the gateway."""
