"""Files that jobs leave: whole or not at all, in a folder that is one job's alone while it runs, or where there is room."""
