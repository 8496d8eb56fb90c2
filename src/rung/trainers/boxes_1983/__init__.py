"""The adaptive elements of 1983: BOXES, ASE and ACE on the cart-pole."""
