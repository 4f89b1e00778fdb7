"""The gateway: one endpoint for every AWS request. It classifies, applies chaos, journals, and routes."""
