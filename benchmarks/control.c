/* PPO on CartPole-v1 with Stable-Baselines3's numbers, as plain C: how fast one core can do the work that its rivals do.

   cc -O3 -march=native -ffast-math -o control control.c -lm && ./control 65536 0
   Arguments: environment steps, seed. Prints JSON: seconds on the wall and of the processor while it learns, steps,
   and the mean return of 20 greedy episodes.

   8 environments x 2,048 steps, 10 epochs of minibatches of 64; two networks of tanh, 4-64-64-2 and 4-64-64-1, float32,
   orthogonal; Adam 3e-4, epsilon 1e-5; clip 0.2, value coefficient 0.5, gradient norm 0.5, discount 0.99, lambda 0.95;
   advantages whitened in each minibatch; an episode that is cut at 500 steps is followed by the critic's value. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENVS = 8, HORIZON = 2048, EPOCHS = 10, BATCH = 64, O = 4, H = 64, STEPS = ENVS * HORIZON, LIMIT = 500, SCORED = 20 };
enum { W1 = 0, B1 = O * H, W2 = B1 + H, B2 = W2 + H * H, W3 = B2 + H }; /* weights stand [in][out] */
#define SIZE(out) (W3 + H * (out) + (out))
enum { ACTOR = SIZE(2), CRITIC = SIZE(1), ALL = ACTOR + CRITIC };

static float theta[ALL], grad[ALL], mean[ALL], square[ALL];
static float seen[STEPS][O], log_probs[STEPS], values[STEPS], rewards[STEPS], advantages[STEPS], targets[STEPS];
static int actions[STEPS], over[STEPS];

static unsigned long long state;
static double uniform(void) { /* xorshift64* */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (double)((state * 2685821657736338717ULL) >> 11) / 9007199254740992.0;
}
static double normal(void) { return sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform()); }

static void orthogonal(float *w, int in, int out, double gain) { /* Gram-Schmidt on the smaller side */
    int many = in < out ? out : in, few = in < out ? in : out;
    double *q = malloc(sizeof(double) * many * few);
    for (int f = 0; f < few; f++) {
        double *mine = q + f * many, norm = 0;
        for (int m = 0; m < many; m++) mine[m] = normal();
        for (int g = 0; g < f; g++) {
            double dot = 0;
            for (int m = 0; m < many; m++) dot += mine[m] * q[g * many + m];
            for (int m = 0; m < many; m++) mine[m] -= dot * q[g * many + m];
        }
        for (int m = 0; m < many; m++) norm += mine[m] * mine[m];
        for (int m = 0; m < many; m++) mine[m] /= sqrt(norm);
    }
    for (int i = 0; i < in; i++)
        for (int o = 0; o < out; o++) w[i * out + o] = gain * (in < out ? q[i * many + o] : q[o * many + i]);
    free(q);
}

static void layer(const float *restrict in, int n, int from, int to, const float *restrict w, const float *restrict b,
                  float *restrict out) {
    for (int r = 0; r < n; r++) {
        float *row = out + r * to;
        for (int o = 0; o < to; o++) row[o] = b[o];
        for (int i = 0; i < from; i++)
            for (int o = 0; o < to; o++) row[o] += in[r * from + i] * w[i * to + o];
    }
}

static void forward(const float *w, int outs, const float *in, int n, float *h1, float *h2, float *out) {
    layer(in, n, O, H, w + W1, w + B1, h1);
    for (int i = 0; i < n * H; i++) h1[i] = tanhf(h1[i]);
    layer(h1, n, H, H, w + W2, w + B2, h2);
    for (int i = 0; i < n * H; i++) h2[i] = tanhf(h2[i]);
    layer(h2, n, H, outs, w + W3, w + W3 + H * outs, out);
}

static void gradients(const float *restrict in, const float *restrict slope, int n, int from, int to, float *restrict gw,
                      float *restrict gb) {
    for (int r = 0; r < n; r++) {
        for (int o = 0; o < to; o++) gb[o] += slope[r * to + o];
        for (int i = 0; i < from; i++)
            for (int o = 0; o < to; o++) gw[i * to + o] += in[r * from + i] * slope[r * to + o];
    }
}

static void back_through(const float *restrict w, const float *restrict h, const float *restrict slope, int n, int to,
                         float *restrict found) { /* the slope before a tanh whose value is h */
    static float turned[H * H];
    for (int i = 0; i < H; i++)
        for (int o = 0; o < to; o++) turned[o * H + i] = w[i * to + o];
    for (int r = 0; r < n; r++) {
        float *row = found + r * H;
        memset(row, 0, sizeof(float) * H);
        for (int o = 0; o < to; o++)
            for (int i = 0; i < H; i++) row[i] += slope[r * to + o] * turned[o * H + i];
        for (int i = 0; i < H; i++) row[i] *= 1 - h[r * H + i] * h[r * H + i];
    }
}

static void backward(const float *w, float *g, int outs, const float *in, const float *h1, const float *h2,
                     const float *slope, int n) {
    static float s1[BATCH * H], s2[BATCH * H];
    gradients(h2, slope, n, H, outs, g + W3, g + W3 + H * outs);
    back_through(w + W3, h2, slope, n, outs, s2);
    gradients(h1, s2, n, H, H, g + W2, g + B2);
    back_through(w + W2, h1, s2, n, H, s1);
    gradients(in, s1, n, O, H, g + W1, g + B1);
}

typedef struct { double x[O]; int taken; double total; } Pole;

static void begin(Pole *p) {
    for (int i = 0; i < O; i++) p->x[i] = -0.05 + 0.1 * uniform();
    p->taken = 0, p->total = 0;
}

static int move(Pole *p, int action) { /* whether the pole has fallen or the cart left the track */
    double *s = p->x, force = action ? 10 : -10, c = cos(s[2]), n = sin(s[2]);
    double push = (force + 0.05 * s[3] * s[3] * n) / 1.1;
    double turn = (9.8 * n - c * push) / (0.5 * (4.0 / 3 - 0.1 * c * c / 1.1));
    double up = push - 0.05 * turn * c / 1.1;
    s[0] += 0.02 * s[1], s[1] += 0.02 * up, s[2] += 0.02 * s[3], s[3] += 0.02 * turn;
    p->taken++, p->total++;
    return fabs(s[0]) > 2.4 || fabs(s[2]) > 12 * 2 * M_PI / 360;
}

static void observe(const Pole *p, float *into) { for (int i = 0; i < O; i++) into[i] = p->x[i]; }

static double log_prob(const float *logits, int action) {
    double top = fmax(logits[0], logits[1]);
    return logits[action] - top - log(exp(logits[0] - top) + exp(logits[1] - top));
}

static void collect(Pole *poles) {
    static float h1[ENVS * H], h2[ENVS * H], now[ENVS][O], logits[ENVS][2], value[ENVS], next[ENVS];
    for (int t = 0; t < HORIZON; t++) {
        for (int e = 0; e < ENVS; e++) observe(poles + e, now[e]);
        forward(theta, 2, now[0], ENVS, h1, h2, logits[0]);
        forward(theta + ACTOR, 1, now[0], ENVS, h1, h2, value);
        for (int e = 0; e < ENVS; e++) {
            int at = e * HORIZON + t, action = uniform() >= exp(log_prob(logits[e], 0));
            memcpy(seen[at], now[e], sizeof now[e]);
            actions[at] = action, log_probs[at] = log_prob(logits[e], action), values[at] = value[e], rewards[at] = 1;
            int fell = move(poles + e, action), cut = poles[e].taken >= LIMIT;
            over[at] = fell || cut;
            if (cut && !fell) {
                float last[O], v;
                observe(poles + e, last);
                forward(theta + ACTOR, 1, last, 1, h1, h2, &v);
                rewards[at] += 0.99f * v;
            }
            if (over[at]) begin(poles + e);
        }
    }
    for (int e = 0; e < ENVS; e++) observe(poles + e, now[e]);
    forward(theta + ACTOR, 1, now[0], ENVS, h1, h2, next);
    for (int e = 0; e < ENVS; e++) {
        float after = next[e], sum = 0;
        for (int t = HORIZON - 1; t >= 0; t--) {
            int at = e * HORIZON + t;
            float goes_on = over[at] ? 0 : 0.99f;
            sum = rewards[at] + goes_on * after - values[at] + goes_on * 0.95f * sum;
            advantages[at] = sum, targets[at] = sum + values[at], after = values[at];
        }
    }
}

static void update(const int *chosen, int number) {
    static float in[BATCH][O], h1[BATCH * H], h2[BATCH * H], out[BATCH][2], slope[BATCH][2], v[BATCH], v_slope[BATCH];
    double sum = 0, squares = 0, norm = 0;
    for (int n = 0; n < BATCH; n++) sum += advantages[chosen[n]];
    for (int n = 0; n < BATCH; n++) squares += pow(advantages[chosen[n]] - sum / BATCH, 2);
    for (int n = 0; n < BATCH; n++) memcpy(in[n], seen[chosen[n]], sizeof in[n]);
    memset(grad, 0, sizeof grad);
    forward(theta, 2, in[0], BATCH, h1, h2, out[0]);
    for (int n = 0; n < BATCH; n++) {
        int action = actions[chosen[n]];
        double advantage = (advantages[chosen[n]] - sum / BATCH) / (sqrt(squares / (BATCH - 1)) + 1e-8);
        double own = log_prob(out[n], action), ratio = exp(own - log_probs[chosen[n]]);
        int clipped = (advantage > 0 && ratio > 1.2) || (advantage < 0 && ratio < 0.8);
        double pull = clipped ? 0 : -ratio * advantage / BATCH, other = 1 - exp(own);
        slope[n][action] = pull * other, slope[n][1 - action] = -pull * other;
    }
    backward(theta, grad, 2, in[0], h1, h2, slope[0], BATCH);
    forward(theta + ACTOR, 1, in[0], BATCH, h1, h2, v);
    for (int n = 0; n < BATCH; n++) v_slope[n] = 0.5f * 2 * (v[n] - targets[chosen[n]]) / BATCH;
    backward(theta + ACTOR, grad + ACTOR, 1, in[0], h1, h2, v_slope, BATCH);
    for (int i = 0; i < ALL; i++) norm += (double)grad[i] * grad[i];
    float scale = fmin(1, 0.5 / (sqrt(norm) + 1e-6)), first = 1 - pow(0.9, number), second = 1 - pow(0.999, number);
    for (int i = 0; i < ALL; i++) {
        float g = grad[i] * scale;
        mean[i] += 0.1f * (g - mean[i]), square[i] += 0.001f * (g * g - square[i]);
        theta[i] -= 3e-4f / first * mean[i] / (sqrtf(square[i] / second) + 1e-5f);
    }
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

int main(int count, char **words) {
    long wanted = count > 1 ? atol(words[1]) : 65536, steps = 0;
    state = 88172645463325252ULL ^ (count > 2 ? strtoull(words[2], 0, 10) * 0x9E3779B97F4A7C15ULL : 0);
    for (int i = 0; i < 20; i++) uniform();
    orthogonal(theta + W1, O, H, sqrt(2)), orthogonal(theta + W2, H, H, sqrt(2)), orthogonal(theta + W3, H, 2, 0.01);
    float *critic = theta + ACTOR;
    orthogonal(critic + W1, O, H, sqrt(2)), orthogonal(critic + W2, H, H, sqrt(2)), orthogonal(critic + W3, H, 1, 1);
    Pole poles[ENVS];
    for (int e = 0; e < ENVS; e++) begin(poles + e);
    static int order[STEPS];
    for (int i = 0; i < STEPS; i++) order[i] = i;
    int updates = 0;
    double wall = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (; steps < wanted; steps += STEPS) {
        collect(poles);
        for (int epoch = 0; epoch < EPOCHS; epoch++) {
            for (int i = STEPS - 1; i > 0; i--) {
                int j = uniform() * (i + 1), kept = order[i];
                order[i] = order[j], order[j] = kept;
            }
            for (int first = 0; first < STEPS; first += BATCH) update(order + first, ++updates);
        }
    }
    wall = seconds(CLOCK_MONOTONIC) - wall, used = seconds(CLOCK_PROCESS_CPUTIME_ID) - used;
    double score = 0;
    for (int episode = 0; episode < SCORED; episode++) {
        Pole pole;
        float now[O], h1[H], h2[H], logits[2];
        for (begin(&pole); pole.taken < LIMIT;) {
            observe(&pole, now);
            forward(theta, 2, now, 1, h1, h2, logits);
            if (move(&pole, logits[1] > logits[0])) break;
        }
        score += pole.total / SCORED;
    }
    printf("{\"seconds\": %.6f, \"processor\": %.6f, \"steps\": %ld, \"updates\": %d, \"score\": %.2f}\n", wall, used,
           steps, updates, score);
    return 0;
}
