"""The folder that stands on LocalStack's ``PYTHONPATH``: the thin plugin and its entry points.

Nothing here is imported by the testbed itself. The package ``serverless_testbed_plugin`` runs inside LocalStack's own
interpreter (LocalStack 4.9.2 on Python 3.11 and later, LocalStack 4.14.0 on Python 3.13), which finds it by the
``*.dist-info`` folder beside it.
"""
