"""Rules as data: the expressions they are written in, their shape, the shipped ones."""
