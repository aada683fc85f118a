"""ptycho's backends as a library of reconstructors of ptychodus."""
