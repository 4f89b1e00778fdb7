"""What every client saw, what became of each request, and the verdict; knows nothing of AWS."""
