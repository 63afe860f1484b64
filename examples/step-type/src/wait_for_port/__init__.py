"""A step type for txdagu: wait until something listens on a TCP port."""
