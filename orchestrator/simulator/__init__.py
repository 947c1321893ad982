"""A stand-in Omni server over real HTTP on loopback, and the virtual time that rehearsals and tests run in."""
