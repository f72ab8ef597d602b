"""Starting browsers, on this machine or through a Selenium Grid."""
