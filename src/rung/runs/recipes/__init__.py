"""Work made of several steps: the tiny model, fine-tuning, drawn pairs, RLHF from people's labels."""
