"""What runs beside models and clients: the gateway, its watch over accepted steps, the doctor."""
