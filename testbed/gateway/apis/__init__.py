"""What clients call by HTTP: REST APIs and function URLs."""
