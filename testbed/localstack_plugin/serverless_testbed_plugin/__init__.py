"""Runs inside LocalStack: state stays there, Lambda's data plane goes to the testbed."""
