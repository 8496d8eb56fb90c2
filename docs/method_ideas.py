"""The idea of each method in a paragraph, written by hand; everything else of its page is generated.

What was measured is not told here: a page takes its numbers from the recorded results.
"""

from __future__ import annotations

IDEAS: dict[str, str] = {
    "boxes": (
        "Cut the state space into boxes and give each box one decision, left or right. A box writes down how long the "
        "pole stayed up each time it was entered, apart for its two decisions, and at every failure takes the one "
        "that looks better. The desired level, what the system achieves on average and a little more, makes an "
        "untried decision look worth trying."
    ),
    "ase": (
        "Every box has one weight, whose sign is its action; a little noise breaks ties. A decaying eligibility trace "
        "remembers which boxes acted lately and how. When the failure comes, every box is pushed away from what it "
        "did, the later the harder. Nothing else is ever told to it."
    ),
    "ase_ace": (
        "The failure is one number after hundreds of actions. A second element beside the actor, the critic, learns "
        "to foretell it: its prediction of one step is corrected by the prediction of the next, which is temporal-"
        "difference learning. The change of its prediction becomes the reinforcement of the actor, so the actor is "
        "told at every step whether things got better or worse. An actor and a critic that learn from one surprise: "
        "that is actor-critic."
    ),
    "dqn": (
        "Learn what every action is worth, and take the best. The worth of an action is the reward that follows and "
        "the worth of the best action after it, so a network is pulled towards its own prediction one step later. "
        "Steps are kept and drawn again at random, because neighbours in time are too much alike to learn from. The "
        "best of all actions must be found by looking at each, which is why there are no continuous actions here."
    ),
    "reinforce": (
        "Try, and make what was tried more likely in proportion to the reward that came after. The gradient of the "
        "log-probability says how to make an action more likely; the return says by how much. It is unbiased with no "
        "model, no value and no critic, and pays for that with noise."
    ),
    "reinforce_baseline": (
        "Only whether an episode went better than usual carries information. Subtracting what the other episodes of "
        "the batch earned leaves the expected gradient as it is and takes away the part of the noise that they share."
    ),
    "rloo": (
        "For one prompt, several samples; each is measured against the mean of the others. The baseline knows how "
        "hard the prompt is, needs no network, and does not depend on the sample itself, so the gradient stays "
        "unbiased."
    ),
    "actor_critic": (
        "A network that predicts the return lets an action be judged after a few steps: the rewards of those steps "
        "plus what the critic expects from there. Less noise than waiting for the end, and a bias as large as the "
        "critic is wrong."
    ),
    "trpo": (
        "A gradient says a direction and not how far it can be trusted. TRPO asks for the largest improvement among "
        "policies whose KL divergence from the old one stays below a bound: a natural-gradient step by conjugate "
        "gradients, then a line search that takes only a step that improves and keeps the bound."
    ),
    "ppo": (
        "The trust region of TRPO with plain gradient steps: where the probability ratio to the old policy has left "
        "an interval around 1 in the direction that the advantage wants, the gradient is cut off. So several passes "
        "over one rollout are safe enough, and a rollout teaches more."
    ),
    "ppo_kl": (
        "The other form in PPO's paper: a penalty on the KL divergence from the old policy, whose coefficient is "
        "doubled or halved after each rollout until the divergence stays near its target."
    ),
    "grpo": (
        "PPO for answers that are judged once, at their end. In place of a critic as large as the model, several "
        "answers to one prompt are judged against each other: reward less the group's mean, over its spread. A KL to "
        "a frozen reference keeps the model near where it came from."
    ),
    "dr_grpo": (
        "GRPO divides by the length of an answer and by the spread of its group. Both are weights that nobody asked "
        "for: long wrong answers are punished less, and prompts that are nearly always right or wrong count more. "
        "This takes both out."
    ),
    "dapo": (
        "Four repairs to GRPO for long reasoning: a higher upper clip, so that rare tokens can grow; groups without "
        "spread are replaced by others, so that every prompt teaches; every token counts alike; and overlong answers "
        "lose their reward gradually. The KL to a reference is gone."
    ),
    "reinforce++": (
        "No critic and no groups: REINFORCE's returns with the KL taken off token by token, whitened over the whole "
        "batch so that their scale is always the same, under PPO's clip."
    ),
    "reinforce++_baseline": (
        "REINFORCE++ for prompts of which some are hard: an answer is compared with the prompt's others, but scaled by "
        "the spread of the whole batch. A prompt nearly always solved then weighs no more than its rewards differ."
    ),
    "gspo": (
        "The reward belongs to the whole answer, so the ratio that is clipped should too: the geometric mean of the "
        "tokens' ratios, one number a sequence."
    ),
    "cispo": (
        "Clipping by the minimum stops the gradient of exactly the rare tokens that a long reasoning turns on. Here "
        "the ratio is only a capped weight before the log-probability: every token keeps a gradient."
    ),
    "sapo": (
        "A clip is all or nothing: one step beyond the bound a token teaches nothing more. Here its gradient fades "
        "with the distance of its ratio from 1, so that a token slightly off still teaches a little; and one that is "
        "pushed down fades sooner, because pushing it down lifts every other token of the vocabulary."
    ),
    "dppo": (
        "A ratio says little about how far a distribution moved: a token of one in a million may become a hundred "
        "times as likely and hardly anything has changed, while one of 0.99 that falls to 0.8 has moved a fifth of all "
        "the probability there is, at a ratio that no clip would notice. So the change of the probability is bounded."
    ),
    "dppo_kl": (
        "As DPPO, with the KL divergence of one question in place of the distance: is it this token, or another? "
        "Beside the distance it minds more when something becomes nearly impossible."
    ),
    "gmpo": (
        "One ratio for the whole answer, as in GSPO, but each token's ratio is held before they are multiplied. So one "
        "outlier neither silences an answer nor drives it."
    ),
    "high_entropy": (
        "Most tokens of a reasoning finish what is begun, and the policy is sure of them; few are forks, where it "
        "could go one way or another. Only the fifth that it is least sure of is learnt from."
    ),
    "rpo": (
        "DPO widens the gap between two answers and does not mind if both grow less likely, as long as the rejected "
        "one falls faster. A term of plain fine-tuning on the chosen answer keeps it from falling."
    ),
    "gdpo": (
        "Two rewards that are added before they are compared become one number: right and long looks like wrong and "
        "short. Here each reward is compared by itself, and what an answer is better at is told apart from what it is "
        "worse at."
    ),
    "opo": (
        "Long answers have larger gradients, so they bring most of the noise; a baseline that listens to them more "
        "quiets it. No clip, no KL and no second update: every sample is the policy's own."
    ),
    "gpg": (
        "The policy gradient as it is, without ratio, clip, critic or reference. Prompts that are always or never "
        "solved are silent, and the step is made longer by as much as they leave out."
    ),
    "pass_at_k": (
        "If one of k tries is enough, an answer that is right where all others are wrong is worth more than one more "
        "right answer among many. What each adds is counted over all sets of k at once, so that no set has to be drawn."
    ),
    "adaptive_entropy": (
        "A policy that is sure of everything tries nothing new. An entropy bonus keeps it open, but one of fixed "
        "weight is too much here and too little there; so it is switched on where the entropy falls to a target, and "
        "its weight grows until the entropy is above."
    ),
    "lite_ppo": (
        "Of many tricks two are kept: advantages centred by group and scaled by batch, and a mean over tokens."
    ),
    "maxrl": (
        "Weigh a prompt by how seldom it is solved: the expected gradient then climbs the likelihood of a right "
        "answer and not merely its probability, so hard prompts count more."
    ),
    "vapo": (
        "A critic again, for long reasoning: the λ of GAE grows with the length of the answer for the policy, so that "
        "a far-away reward still reaches the first tokens, and the critic learns whole returns, alone at "
        "first, so that the policy is never judged by a critic that knows nothing yet. The loss is DAPO's, and beside "
        "it the likelihood of right answers is raised, so that a rare success is not lost."
    ),
    "reward_model": (
        "A person who cannot write the reward down can still say which of two answers is better. Each answer gets a "
        "score, and the chance that one is preferred is the logistic function of the difference (Bradley and Terry). "
        "Only differences are ever judged, so the scale's zero means nothing."
    ),
    "dpo": (
        "Reinforcement learning against a reward with a KL penalty has a known best policy, in which the reward is β "
        "times the log-ratio of that policy to the reference. Put this into the likelihood of the preferences, and the "
        "reward is gone: what is left is a loss on the policy alone, and nothing is sampled. It looks like supervised "
        "learning; over all answers its optimum is that of the reinforcement learning it replaces."
    ),
    "ipo": (
        "Where every label agrees, DPO pulls the margin to infinity and the reference no longer holds it. A squared "
        "loss draws the margin to one finite value."
    ),
    "kto": (
        "People often say good or bad of one answer and never see a second. Each answer is judged against what the "
        "policy does on average, and gains and losses may weigh differently."
    ),
    "simpo": (
        "What is decoded is what has a high mean log-probability, so that is taken as the reward, with a margin to "
        "keep. Without a reference there is one model in memory, and nothing but the learning rate keeps it near its "
        "start."
    ),
    "online_rft": (
        "The model answers, wrong answers are thrown away, and it is fine-tuned on the right ones: supervised learning "
        "on one's own successes, again and again. Beside GRPO it says how much of the gain needs an advantage: nothing "
        "is compared, all right answers count alike, and no wrong one is ever pushed down."
    ),
    "rft": (
        "Rejection-sampling fine-tuning: the right answers that the model gives before any of this are its lessons. It "
        "never sees what it becomes, so at best it ends at its own start with the wrong answers taken out."
    ),
    "distillation": (
        "The student writes and a better model says of each of the student's tokens how likely it is. So the student "
        "is taught where it itself goes, at every token, and no reward has to be found."
    ),
    "distillation_whole": (
        "At each token of its own answer the student is shown the teacher's whole distribution, not only what the "
        "teacher thinks of the one token that happened to be drawn. The direction is the same on average; the noise of "
        "the draw is gone."
    ),
    "distillation_top_k": (
        "A teacher that is asked over a network tells its likeliest tokens, not fifty thousand numbers. They are "
        "learnt from one by one, and everything else as one more outcome, so that the two are still distributions."
    ),
    "gkd": (
        "Pulling the student into the teacher makes it leave things out; pulling the teacher's mass into the student "
        "makes it spread. A mixture of the two distributions stands between, and no token that either finds impossible "
        "makes the loss infinite."
    ),
}

_ELEMENTS = {
    "the equations": "src/rung/formulas/adaptive_elements.py",
    "the loop that calls them": "src/rung/trainers/boxes_1983/trials.py",
    "the cart and the pole": "src/rung/tasks/cart_pole.py",
}
SOURCES: dict[str, dict[str, str]] = {"boxes": _ELEMENTS, "ase": _ELEMENTS, "ase_ace": _ELEMENTS}
"""Files that hold a method's formula where its parts hold numbers only."""
