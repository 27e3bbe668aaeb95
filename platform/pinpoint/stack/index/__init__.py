"""Processes of the embedded index: owner, engine, builder and the swap of builds."""
