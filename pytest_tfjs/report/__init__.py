"""Reports results: failure messages, terminal tables, the JSON file and JUnit properties."""
