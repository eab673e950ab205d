"""Campaigns on the commands: killed, out of disk, with damaged files, started twice."""
