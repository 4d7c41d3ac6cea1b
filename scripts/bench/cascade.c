// The cascade in C, one column (a path under a policy) at a time: its state stays in the first-level cache for the whole run,
// stage 4 is vectorised over a book's buckets, and the stages behind it work on the few cohorts that have orders. Exogenous
// prices are computed once per path. Written from MODEL.md for the default kinds. `layout.h` is made by c_program.py: sizes and
// maps of the layout as constants, and the structs Rules, Shocks, Draws and Outcomes.

#include <math.h>
#include <string.h>
#include "layout.h"

#define SMALLEST ((real)1e-4)
#define DUST ((real)1e-6)
#define COHORTS (BOOKS * BUCKETS)
#define INLINE static inline __attribute__((always_inline))

INLINE real least(real a, real b) { return a < b ? a : b; }
INLINE real most(real a, real b) { return a > b ? a : b; }
INLINE real absolute(real a) { return a < 0 ? -a : a; }

// e^x; in single precision as a polynomial (Cephes), which compilers vectorise
#if SINGLE
INLINE real exp_of(real x) {
  x = most(least(x, 88.0f), -87.0f);
  float n = rintf(x * 1.44269504f);
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  union { int i; float f; } two = {((int)n + 127) << 23};
  return p * two.f;
}
#else
INLINE real exp_of(real x) { return exp(x); }
#endif
#define LN2 ((real)0.6931471805599453)

typedef struct {
  real fundamental[STEPS][ASSETS], drop[STEPS], gate_open[STEPS][VENUES], trough[ASSETS];
} Series;

// The buckets of a book as one vector; a mask has all bits of a lane set, or none
typedef real vec __attribute__((vector_size(BUCKETS * sizeof(real))));
typedef real given __attribute__((vector_size(BUCKETS * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef whole mask __attribute__((vector_size(BUCKETS * sizeof(whole))));

INLINE vec load(const real* at) { return *(const given*)at; }
INLINE vec pick(mask m, vec a, vec b) { return (vec)((m & (mask)a) | (~m & (mask)b)); }
INLINE vec least_of(vec a, vec b) { return pick(a < b, a, b); }
INLINE vec most_of(vec a, vec b) { return pick(a > b, a, b); }
INLINE vec absolute_of(vec a) { return most_of(a, -a); }
INLINE int any(mask m) {
  union { mask m; unsigned long long bits[sizeof(mask) / 8]; } u = {m};
  unsigned long long bits = 0;
  for (unsigned n = 0; n < sizeof(mask) / 8; n++) bits |= u.bits[n];
  return bits != 0;
}

typedef struct {
  vec cash[BOOKS], budget[BOOKS], contracts[PERPS][BOOKS], collateral[PLEDGES][BOOKS];
  vec margin_of_dust[BOOKS];  // what the first tiers ask of a rounding of the start
  mask taken_over[BOOKS], seized[BOOKS], liquidated[BOOKS], missed[BOOKS], due[BOOKS];  // seized: taken over, not yet sold
  real y[MARKETS], decay[MARKETS], last[MARKETS], basis[MARKETS];
  real maker_units[MARKETS], maker_cash[MARKETS];
  real ema[ENTRIES], fund[VENUES];
} State;

typedef struct {
  real price[MARKETS], mark[MARKETS], depth[MARKETS], liquidity[MARKETS], average[MARKETS], closing[MARKETS];
  real index[ENTRIES], fair[ENTRIES], sale[ENTRIES];
} Prices;

typedef struct {
  int b, k, due, taken_over, fails, fails_own;
  real cash, equity, maintenance, credit, value, of_perps;
  real slot[PERPS], closed[PERPS], sold[PLEDGES];
} Order;

// 2.1 exogenous, once per path

static double normal_quantile(double u) {  // Wichura (1988), AS 241, PPND16
  double q = u - 0.5, r;
  if (fabs(q) <= 0.425) {
    r = 0.180625 - q * q;
    return q * (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
      + 45921.953931549871457) * r + 13731.693765509461125) * r + 1971.5909503065514427) * r + 133.14166789178437745) * r
      + 3.387132872796366608) / (((((((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r
      + 21213.794301586595867) * r + 5394.1960214247511077) * r + 687.1870074920579083) * r + 42.313330701600911252) * r + 1.0);
  }
  r = sqrt(-log(q < 0 ? u : 1 - u));
  double x;
  if (r <= 5) {
    r -= 1.6;
    x = (((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r
      + 1.27045825245236838258) * r + 3.64784832476320460504) * r + 5.7694972214606914055) * r + 4.6303378461565452959) * r
      + 1.42343711074968357734) / (((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r
      + 0.0151986665636164571966) * r + 0.14810397642748007459) * r + 0.68976733498510000455) * r + 1.6763848301838038494) * r
      + 2.05319162663775882187) * r + 1.0);
  } else {
    r -= 5;
    x = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
      + 0.026532189526576123093) * r + 0.29656057182850489123) * r + 1.7848265399172913358) * r + 5.4637849111641143699) * r
      + 6.6579046435011037772) / (((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r
      + 1.8463183175100546818e-5) * r + 7.868691311456132591e-4) * r + 0.0148753612908506148525) * r
      + 0.13692988092273580531) * r + 0.59983220655588793769) * r + 1.0);
  }
  return q < 0 ? -x : x;
}

INLINE double arrived(double since, double duration) { return duration > 0 ? fmin(1, since / duration) : 1; }

static void exogenous(const Shocks* s, const Draws* d, int path, int paths, Series* out) {
  double u = d->macro[path], score = normal_quantile(u), severity;
  if (LAW == 0) severity = s->a;
  else if (LAW == 1) severity = s->a - s->b * score;
  else if (LAW == 2) severity = s->a * exp(-s->b * score);
  else if (s->c == 0) severity = s->a - s->b * log(u);
  else severity = s->a + s->b * expm1(-s->c * log(u)) / s->c;
  severity = fmin(severity, s->cap);
  double shock_time = s->start + d->macro[paths + path] * (s->latest - s->start);
  double rho = s->drop_correlation;
  double rank = sqrt(1 - rho * rho) * d->liquidity[path] - rho * score;
  double worst = s->drop_lowest + (s->drop_highest - s->drop_lowest) * 0.5 * erfc(-rank / sqrt(2.0));
  double begins[OUTAGES], ends[OUTAGES];
  for (int n = 0; n < OUTAGE_COUNT; n++) {
    double length = s->outage_length[n];
    begins[n] = s->outage_start[n];
    if (OUTAGE_RANDOM[n]) {
      begins[n] = s->outage_rate[n] > 0 ? begins[n] - log(d->outage[2 * n * paths + path]) / s->outage_rate[n] : INFINITY;
      length *= -log(d->outage[(2 * n + 1) * paths + path]);
    }
    ends[n] = begins[n] + length;
  }
  real level[ASSETS] = {0};
  for (int a = 0; a < ASSETS; a++) out->trough[a] = INFINITY;
  real root = (real)sqrt(DRAW_STEP);
  for (int t = 0; t < STEPS; t++) {
    for (int i = t * DRAWS_PER_STEP; i < (t + 1) * DRAWS_PER_STEP; i++) {
      real age = (real)(i * DRAW_STEP - shock_time), nu = 1;
      if (age >= 0) nu += (real)(s->volatility_multiplier - 1) * exp_of(-LN2 * age / (real)s->volatility_half_life);
      for (int a = 0; a < ASSETS; a++) {
        real sum = 0;
        for (int f = 0; f < FACTORS; f++) sum += (real)s->loading[a][f] * d->diffusion[(i * FACTORS + f) * paths + path];
        level[a] += nu * root * sum - nu * nu * (real)(DRAW_STEP / 2) * (real)s->variance[a] + (real)s->trend[a];
      }
      if (JUMPS && d->jump_uniform[i * paths + path] < s->jump_chance) {
        double size = s->jump_mean + s->jump_deviation * d->jump_normal[i * paths + path];
        for (int a = 0; a < ASSETS; a++) level[a] += (real)(s->jump_loading[a] * size);
      }
    }
    double time = (t + 1) * STEP, since = time - shock_time, fallen = 0, gone = 0;
    if (since > 0) {
      double healing = fmax(0, since - s->rebound_delay) / s->rebound_half_life;
      fallen = severity * (arrived(since, s->duration) - s->rebound * (1 - exp2(-healing)));
      double recovering = fmax(0, since - s->drop_onset - s->drop_hold) / s->drop_half_life;
      gone = worst * arrived(since, s->drop_onset) * exp2(-recovering);
    }
    out->drop[t] = (real)gone;
    for (int a = 0; a < ASSETS; a++) {
      real fundamental = exp_of(level[a] - (real)(fallen * s->macro_loading[a]));
      out->fundamental[t][a] = fundamental;
      out->trough[a] = least(out->trough[a], fundamental);
    }
    for (int v = 0; v < VENUES; v++) out->gate_open[t][v] = 1;
    for (int n = 0; n < OUTAGE_COUNT; n++)
      if (begins[n] < time && time <= ends[n]) out->gate_open[t][OUTAGE_VENUE[n]] = 0;
  }
}

// 2.2 and 2.3: prices, index, mark

INLINE void decays(const real* y, real* decay) {
  real slip[MARKETS];
  for (int m = 0; m < MARKETS; m++) slip[m] = -y[m];
  for (int m = 0; m < MARKETS; m++) if (QUOTE[m] >= 0) slip[m] -= y[QUOTE[m]];
  for (int m = 0; m < MARKETS; m++) decay[m] = exp_of(slip[m]);
}

INLINE void priced(const real* fundamental, const real* decay, real* price) {
  for (int m = 0; m < MARKETS; m++) price[m] = fundamental[MARKET_ASSET[m]] * decay[m];
}

INLINE void sale_prices(const real* price, real* sale) {
  for (int i = 0; i < ENTRIES; i++) {
    sale[i] = 0;
    for (int n = 0; n < SALE_COUNT[i]; n++) sale[i] += SALE_SHARE[i][n] * price[SALE_MARKET[i][n]];
  }
}

INLINE void publish(const Rules* r, State* s, const real* fundamental, int first, Prices* p) {
  for (int i = 0; i < ENTRIES; i++) {
    real issuer = fundamental[ENTRY_ASSET[i]], raw = r->redemption_weight[i] * issuer, clamped, reference = 0;
    for (int n = 0; n < SOURCES; n++) if (SOURCE[i][n] >= 0) raw += r->weight[n][i] * p->price[SOURCE[i][n]];
    int count = REFERENCE_COUNT[i];
    if (count) {
      reference = INFINITY;
      for (int n = 0; n < count; n++) {
        real value = p->price[REFERENCE[i][n]], reached = 0;
        for (int o = 0; o < count; o++) if (p->price[REFERENCE[i][o]] <= value) reached += REFERENCE_SHARE[i][o];
        if (reached >= (real)(0.5 - 1e-6) && value < reference) reference = value;
      }
      raw += r->reference_weight[i] * reference;
    }
    clamped = raw;
    if (count) clamped = least(most(raw, reference * (1 - r->clamp[i])), reference * (1 + r->clamp[i]));
    if (first) s->ema[i] = raw;
    s->ema[i] += r->smoothing[i] * (clamped - s->ema[i]);
    p->index[i] = most(s->ema[i], r->floor[i] * issuer);
    p->fair[i] = IS_PEGGED[ENTRY_ASSET[i]] ? issuer : count ? reference : raw;
  }
  for (int m = 0; m < MARKETS; m++) {
    if (MARK[m] < 0) continue;
    real underlying = p->index[PERP_INDEX[m]], last = s->last[m];
    if (MARK[m] == MARK_INDEX) p->mark[m] = underlying;
    else if (MARK[m] == MARK_LAST) p->mark[m] = last;
    else {
      s->basis[m] += r->basis_smoothing[m] * (p->price[m] - underlying - s->basis[m]);
      real smooth = underlying + s->basis[m];
      p->mark[m] = most(most(least(smooth, last), least(last, underlying)), least(smooth, underlying));
    }
  }
}

// 2.4 margin of a book's cohorts

typedef struct { const real (*rate)[TIERS_UP][BOOKS], (*ratio)[TIERS_DOWN][BOOKS], *loan_rate;
  const real (*deduction)[TIERS_UP][BOOKS][BUCKETS], (*addition)[TIERS_DOWN][BOOKS][BUCKETS]; } Margin;

INLINE void assess(const Rules* r, const Margin* g, const State* s, int b, const real* mark, const int* market_of,
    const real* index, vec* equity, vec* maintenance) {
  const vec none = {0};
  vec own = s->cash[b], need = g->loan_rate[b] * most_of(-own, none);
  for (int j = 0; j < PERP_COUNT[b]; j++) {
    real at = mark[market_of[PERP[b][j]]], gain = at - r->entry[j][b];
    vec held = s->contracts[j][b], notional = absolute_of(held) * at, slot = g->rate[j][0][b] * notional;
    for (int n = 1; n < TIERS_UP; n++)
      slot = most_of(slot, g->rate[j][n][b] * notional - load(g->deduction[j][n][b]));
    need += slot;
    own += held * gain;
  }
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) {
    vec worth = s->collateral[j][b] * index[PLEDGE[b][j]], slot = g->ratio[j][0][b] * worth;
    for (int n = 1; n < TIERS_DOWN; n++)
      slot = least_of(slot, g->ratio[j][n][b] * worth + load(g->addition[j][n][b]));
    own += slot;
  }
  *equity = own;
  *maintenance = need;
}

INLINE int anything_left(const State* s, int b, int k) {
  int left = 0;
  for (int j = 0; j < PERP_COUNT[b]; j++) left |= s->contracts[j][b][k] != 0;
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) left |= s->collateral[j][b][k] != 0;
  return left;
}

INLINE real hedge_excess(const Rules* r, const State* s, int b, int k) {
  if (!IS_HEDGED[b] || r->collateral[0][b][k] == 0 || r->position[0][b][k] == 0) return 0;
  return s->collateral[0][b][k] / r->collateral[0][b][k] - s->contracts[0][b][k] / r->position[0][b][k];
}

INLINE real worth_of(const Rules* r, const State* s, int b, int k, const real* sale, const real* price) {
  real worth = s->cash[b][k];
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) worth += s->collateral[j][b][k] * sale[PLEDGE[b][j]];
  for (int j = 0; j < PERP_COUNT[b]; j++) worth += s->contracts[j][b][k] * (price[PERP[b][j]] - r->entry[j][b]);
  return worth;
}

#include "stages.h"

// One column

INLINE void run(const Rules* r, const Series* x, int feedback, Outcomes* out) {
  State s;
  memset(&s, 0, sizeof s);  // Rules has the same numbers in the same order
  memcpy(s.cash, r->cash, sizeof s.cash);
  memcpy(s.budget, r->budget, sizeof s.budget);
  memcpy(s.contracts, r->position, sizeof s.contracts);
  memcpy(s.collateral, r->collateral, sizeof s.collateral);
  for (int m = 0; m < MARKETS; m++) {
    s.y[m] = feedback ? r->displacement[m] : 0;
    s.last[m] = exp_of(-s.y[m]);
    out->trough_price[m] = out->wick_price[m] = INFINITY;
  }
  for (int b = 0; b < BOOKS; b++)
    for (int k = 0; k < BUCKETS; k++) {
      real asked = r->margin_loan_rate[b] * most(-r->cash[b][k], 0);
      for (int j = 0; j < PERP_COUNT[b]; j++) {
        s.maker_units[PERP[b][j]] -= r->position[j][b][k];
        s.maker_cash[PERP[b][j]] += r->position[j][b][k] * r->entry[j][b];
        asked += r->margin_rate[j][0][b] * absolute(r->position[j][b][k]);
      }
      s.margin_of_dust[b][k] = DUST * asked;
    }
  memcpy(s.fund, r->fund, sizeof s.fund);
  for (int i = 0; i < ENTRIES; i++) out->trough_index[i] = INFINITY;
  out->least_margin_gap = INFINITY;
  decays(s.y, s.decay);
  real forced[STEPS], longs = 0, topped_up[VENUES] = {0};
  int exhausted = 0, selling = 0;
  for (int t = 0; t < STEPS; t++)
    step(r, x, t, feedback, &s, out, &forced[t], &longs, topped_up, &exhausted, &selling);
  if (feedback) conclude(r, x, &s, out, forced, longs, topped_up, exhausted, selling);
}

void simulate(const Rules* rules, int policies, const Shocks* shocks, const Draws* draws, int paths, Outcomes* out) {
  static _Thread_local Series series;
  static _Thread_local Outcomes alone;
  for (int path = 0; path < paths; path++) {
    exogenous(shocks, draws, path, paths, &series);
    for (int p = 0; p < policies; p++) {
      Outcomes* mine = &out[p * paths + path];
      memset(mine, 0, sizeof *mine);
      run(&rules[p], &series, 1, mine);
      memset(&alone, 0, sizeof alone);
      run(&rules[p], &series, 0, &alone);
      compare_with_pair(&series, mine, alone.liquidated_units);
    }
  }
}
