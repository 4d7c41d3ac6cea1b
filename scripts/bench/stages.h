// Stages 4 to 10 of cascade.c.

INLINE void call_margin(const Rules* r, State* s, const Prices* p, const real* gate, int feedback, Outcomes* out,
    Order* orders, int* count, real* topped_up) {
  const Margin own = {r->margin_rate, r->margin_ratio, r->margin_loan_rate, r->margin_deduction, r->margin_addition};
  const Margin baseline = {r->baseline_margin_rate, r->baseline_margin_ratio, r->baseline_margin_loan_rate,
    r->baseline_margin_deduction, r->baseline_margin_addition};
  const vec none = {0}, infinite = none + (real)INFINITY;
  vec gap = infinite;
  for (int b = 0; b < BOOKS; b++) {
    vec equity, maintenance, fair, need;
    assess(r, &own, s, b, p->mark, SAME, p->index, &equity, &maintenance);
    mask due = (equity < maintenance) | s->seized[b], fails = {0}, acts = due;
    if (feedback) {
      assess(r, &baseline, s, b, p->fair, PERP_INDEX, p->fair, &fair, &need);
      fails = fair < need;
      acts |= fails & ~s->missed[b];
      vec distance = absolute_of(equity - maintenance) / maintenance;
      gap = pick((maintenance > s->margin_of_dust[b]) & ~s->taken_over[b], least_of(gap, distance), gap);
    }
    s->due[b] = due;
    int open = gate[BOOK_VENUE[b]] > 0;
    if (open) acts |= (equity < r->top_up_warn[b] * maintenance) & (s->budget[b] > none);
    if (!IS_HEDGED[b] && !any(acts)) continue;
    for (int k = 0; k < BUCKETS; k++) {
      if (feedback && fails[k] && !due[k] && !s->missed[b][k]) {
        s->missed[b][k] = -1;
        real size = 0;
        for (int j = 0; j < PERP_COUNT[b]; j++) size += absolute(s->contracts[j][b][k]) * p->price[PERP[b][j]];
        if (!PERP_COUNT[b])
          for (int j = 0; j < PLEDGE_COUNT[b]; j++) size += s->collateral[j][b][k] * p->sale[PLEDGE[b][j]];
        out->missed_liquidations += size;
      }
      real missing = r->top_up_warn[b] * maintenance[k] - equity[k];
      if (!due[k] && missing > 0 && open && s->budget[b][k] > 0) {
        real added = least(least(1, r->top_up_rate[b] * (real)STEP) * missing, s->budget[b][k]);
        s->cash[b][k] += added;
        s->budget[b][k] -= added;
        topped_up[BOOK_VENUE[b]] += added;
      }
      if (due[k] || hedge_excess(r, s, b, k) > 0) {
        Order* o = &orders[(*count)++];
        o->b = b;
        o->k = k;
        o->due = due[k] != 0;
        o->taken_over = s->taken_over[b][k] != 0;
        o->fails = fails[k] != 0;
        o->equity = equity[k];
        o->maintenance = maintenance[k];
      }
    }
  }
  for (int k = 0; k < BUCKETS; k++) out->least_margin_gap = least(out->least_margin_gap, gap[k]);
}

// Margin of one cohort by slots: what a target needs, and whether it fails at fair prices
INLINE void weigh(const Rules* r, const State* s, const Prices* p, Order* o) {
  int b = o->b, k = o->k;
  o->of_perps = o->credit = o->value = 0;
  for (int j = 0; j < PERP_COUNT[b]; j++) {
    real notional = absolute(s->contracts[j][b][k]) * p->mark[PERP[b][j]], need = r->margin_rate[j][0][b] * notional;
    for (int n = 1; n < TIERS_UP; n++)
      need = most(need, r->margin_rate[j][n][b] * notional - r->margin_deduction[j][n][b][k]);
    o->slot[j] = need;
    o->of_perps += need;
  }
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) {
    real worth = s->collateral[j][b][k] * p->index[PLEDGE[b][j]], credit = r->margin_ratio[j][0][b] * worth;
    for (int n = 1; n < TIERS_DOWN; n++)
      credit = least(credit, r->margin_ratio[j][n][b] * worth + r->margin_addition[j][n][b][k]);
    o->credit += credit;
    o->value += worth;
  }
}

INLINE int fails_own(const Rules* r, const State* s, const Prices* p, int b, int k) {
  real equity = s->cash[b][k], maintenance = r->margin_loan_rate[b] * most(-equity, 0);
  for (int j = 0; j < PERP_COUNT[b]; j++) {
    real held = s->contracts[j][b][k], at = p->fair[PERP_INDEX[PERP[b][j]]], notional = absolute(held) * at;
    real need = r->margin_rate[j][0][b] * notional;
    for (int n = 1; n < TIERS_UP; n++)
      need = most(need, r->margin_rate[j][n][b] * notional - r->margin_deduction[j][n][b][k]);
    maintenance += need;
    equity += held * (at - r->entry[j][b]);
  }
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) {
    real worth = s->collateral[j][b][k] * p->fair[PLEDGE[b][j]], credit = r->margin_ratio[j][0][b] * worth;
    for (int n = 1; n < TIERS_DOWN; n++)
      credit = least(credit, r->margin_ratio[j][n][b] * worth + r->margin_addition[j][n][b][k]);
    equity += credit;
  }
  return equity < maintenance;
}

INLINE real taken(real share, real left, real pace, real start) {
  real units = least(share * left, pace * start);
  return units > 0 && left - units < SMALLEST * start ? left : units;
}

// 2.6 and 2.7 orders and impact
INLINE void execute(const real* units, int perps, int feedback, State* s, Prices* p) {
  for (int m = 0; m < MARKETS; m++) {
    if (IS_PERP[m] != perps) continue;
    real rise = feedback ? units[m] / p->depth[m] : 0;
    s->y[m] += rise;
    p->average[m] = rise != 0 ? p->price[m] * -(real)expm1(-rise) / rise : p->price[m];
  }
}

INLINE void close_perps(const Rules* r, const State* s, Order* o, real* units) {
  int b = o->b, k = o->k, targets = IS_TARGET[b] && !o->taken_over;
  real share = 1;
  if (targets && o->due) {
    real target = r->target[b];
    share = o->of_perps > 0 ? (target * o->maintenance - o->equity) / (target * o->of_perps) : 0;
    share = least(most(share, 0), 1);
  }
  for (int j = 0; j < PERP_COUNT[b]; j++) {
    real start = r->position[j][b][k], closed = 0;
    if (o->due) closed = taken(share, absolute(s->contracts[j][b][k]), r->pace[b], absolute(start));
    o->closed[j] = start < 0 ? -closed : closed;
    units[PERP[b][j]] += o->closed[j];
  }
}

INLINE void sell_collateral(const Rules* r, const State* s, const Prices* p, Order* o, real* units) {
  int b = o->b, k = o->k;
  o->cash = s->cash[b][k];
  for (int j = 0; j < PERP_COUNT[b]; j++) {
    real paid = p->average[PERP[b][j]];
    o->cash += o->closed[j] * (paid - r->entry[j][b]) - r->fee[b] * absolute(o->closed[j]) * paid;
  }
  real share = 0, worth = 0;
  if (o->due) {
    for (int j = 0; j < PLEDGE_COUNT[b]; j++) worth += s->collateral[j][b][k] * p->sale[PLEDGE[b][j]];
    real amount = most(-o->cash, 0);
    if (o->taken_over) amount = worth;
    else if (IS_TARGET[b]) {
      real target = r->target[b], missing = target * o->maintenance - o->equity;
      for (int j = 0; j < PERP_COUNT[b]; j++)
        if (o->closed[j] != 0) missing -= target * o->slot[j] * absolute(o->closed[j] / s->contracts[j][b][k]);
      real credit_share = o->value > 0 ? o->credit / o->value : 0;
      real gain = most(1 - credit_share + target * r->margin_loan_rate[b], (real)1e-9);
      amount = least(amount, most(missing, 0) / gain);
    }
    share = worth > 0 ? least(1, amount / worth) : 0;
  }
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) {
    real start = r->collateral[j][b][k];
    o->sold[j] = o->due ? taken(share, s->collateral[j][b][k], r->pace[b], start) : 0;
    if (j == 0 && IS_HEDGED[b]) o->sold[j] = most(o->sold[j], hedge_excess(r, s, b, k) * start);
    int entry = PLEDGE[b][j];
    for (int n = 0; n < SALE_COUNT[entry]; n++) units[SALE_MARKET[entry][n]] += o->sold[j] * SALE_SHARE[entry][n];
  }
}

INLINE void settle(const Rules* r, State* s, const Prices* p, const real* received, Order* o) {
  int b = o->b, k = o->k;
  for (int j = 0; j < PERP_COUNT[b]; j++) {
    int m = PERP[b][j];
    s->fund[BOOK_VENUE[b]] += r->fee[b] * absolute(o->closed[j]) * p->average[m];
    s->maker_units[m] += o->closed[j];
    s->maker_cash[m] -= o->closed[j] * p->average[m];
    s->contracts[j][b][k] -= o->closed[j];
  }
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) {
    real brought = o->sold[j] * received[PLEDGE[b][j]], fee = o->due ? r->collateral_fee[b] * brought : 0;
    o->cash += brought - fee;
    s->fund[BOOK_VENUE[b]] += fee;
    s->collateral[j][b][k] -= o->sold[j];
  }
  s->cash[b][k] = o->cash;
}

// 2.8 healing
INLINE void heal(const Rules* r, State* s, const Prices* p, const real* gate) {
  real* y = s->y;
  for (int m = 0; m < MARKETS; m++) y[m] *= exp_of(-LN2 * r->resilience_rate[m] * p->liquidity[m]);
  for (int n = 0; n < PAIRS; n++) {
    real spot = 1 / p->depth[PAIR_SPOT[n]], perp = 1 / p->depth[PAIR_PERP[n]];
    real units = r->basis_share[n] * (y[PAIR_PERP[n]] - y[PAIR_SPOT[n]]) / (spot + perp);
    y[PAIR_PERP[n]] -= units * perp;
    y[PAIR_SPOT[n]] += units * spot;
  }
  for (int g = 0; g < GROUPS; g++) {
    real total = 0, mean = 0, bought = 0, change[MEMBERS];
    for (int n = 0; n < GROUP_COUNT[g]; n++) {
      int m = GROUP[g][n];
      real weight = gate[MARKET_VENUE[m]] * p->depth[m];
      total += weight;
      mean += weight * y[m];
    }
    if (total == 0) continue;
    mean /= total;
    for (int n = 0; n < GROUP_COUNT[g]; n++) {
      int m = GROUP[g][n];
      change[n] = gate[MARKET_VENUE[m]] * r->arbitrage_share[g] * (mean - y[m]);
      bought += most(0, -change[n]) * p->depth[m];
    }
    if (bought == 0) continue;
    real scale = least(1, r->arbitrage_capital[g] * (real)STEP / bought);
    for (int n = 0; n < GROUP_COUNT[g]; n++) y[GROUP[g][n]] += scale * change[n];
  }
  for (int i = 0; i < PEGGED_COUNT; i++) {
    real wanted = 0;
    for (int n = 0; n < PEGGED_MARKETS[i]; n++) {
      int m = PEGGED_MARKET[i][n];
      wanted += gate[MARKET_VENUE[m]] * most(0, y[m]) * p->depth[m];
    }
    if (wanted == 0) continue;
    real share = least(1, r->redemption_capacity[i] * (real)STEP / wanted);
    for (int n = 0; n < PEGGED_MARKETS[i]; n++) {
      int m = PEGGED_MARKET[i][n];
      y[m] -= share * gate[MARKET_VENUE[m]] * most(0, y[m]);
    }
  }
}

// 2.9 bankruptcies: what the funds leave is borne by winners, then by everybody
static void share_losses(const Rules* r, State* s, const Prices* p, const real* sale, const real* uncovered,
    const Order* orders, const real* deficit, int count, Outcomes* out) {
  static _Thread_local real worth[BOOKS][BUCKETS], charge[BOOKS][BUCKETS];
  real bankrupt[2][MARKETS] = {{0}}, loss[2][MARKETS] = {{0}}, winners[2][MARKETS] = {{0}}, rest[VENUES] = {0};
  real part[2][MARKETS], cost[2][MARKETS], adl_loss[VENUES] = {0}, able[VENUES] = {0};
  const real* price = p->closing;
  for (int b = 0; b < BOOKS; b++)
    for (int k = 0; k < BUCKETS; k++) {
      worth[b][k] = worth_of(r, s, b, k, sale, price);
      charge[b][k] = 0;
    }
  for (int i = 0; i < count; i++) {
    if (deficit[i] <= 0) continue;
    int b = orders[i].b, k = orders[i].k, v = BOOK_VENUE[b];
    worth[b][k] = -deficit[i];
    rest[v] += uncovered[v] * deficit[i];
    if (r->adl[v] == 0) continue;
    real share = uncovered[v], notional = 0;
    for (int j = 0; j < PERP_COUNT[b]; j++) {
      real size = absolute(s->contracts[j][b][k]);
      if (size > DUST * absolute(r->position[j][b][k])) notional += size * price[PERP[b][j]];
    }
    if (notional == 0) continue;
    for (int j = 0; j < PERP_COUNT[b]; j++) {
      int m = PERP[b][j], side = r->position[j][b][k] > 0 ? 0 : 1;
      real held = s->contracts[j][b][k], size = absolute(held);
      if (size <= DUST * absolute(r->position[j][b][k])) continue;
      s->cash[b][k] += share * held * (price[m] - r->entry[j][b]);
      bankrupt[side][m] += share * size;
      loss[side][m] += share * deficit[i] * size * price[m] / notional;
      s->contracts[j][b][k] = held * (1 - share);
    }
  }
  for (int b = 0; b < BOOKS; b++)
    for (int j = 0; j < PERP_COUNT[b]; j++)
      for (int k = 0; k < BUCKETS; k++) {
        real held = s->contracts[j][b][k];
        if (!s->due[b][k] && held * (price[PERP[b][j]] - r->entry[j][b]) > 0) winners[held < 0][PERP[b][j]] += absolute(held);
      }
  for (int m = 0; m < MARKETS; m++) {
    if (!IS_PERP[m]) continue;
    real units = s->maker_units[m], profit = s->maker_cash[m] + units * price[m], taken_by_makers = 0;
    int v = MARKET_VENUE[m];
    for (int side = 0; side < 2; side++) {  // of the winners
      real against = bankrupt[!side][m], held = side ? -units : units;
      if (!(profit > 0 && held > 0)) held = 0;
      real total = winners[side][m] + held;
      part[side][m] = total > 0 ? least(1, against / total) : 0;
      cost[side][m] = against > 0 ? loss[!side][m] / against : 0;
      if (against == 0) continue;
      real lost = part[side][m] * held * cost[side][m], closed = part[side][m] * total;
      if (held > 0) out->adl_overshoot_wealth += most(0, part[side][m] * profit - lost);
      s->maker_cash[m] -= lost;
      adl_loss[v] += lost;
      real remains = against - part[side][m] * winners[side][m];
      taken_by_makers += side ? remains : -remains;
      out->adl_notional += closed * price[m];
      out->adl_overshoot_contracts += most(0, closed - against) * price[m];
    }
    s->maker_units[m] += taken_by_makers;
    s->maker_cash[m] -= taken_by_makers * price[m];
  }
  for (int b = 0; b < BOOKS; b++)
    for (int j = 0; j < PERP_COUNT[b]; j++)
      for (int k = 0; k < BUCKETS; k++) {
        int m = PERP[b][j];
        real held = s->contracts[j][b][k], profit = held * (price[m] - r->entry[j][b]);
        if (s->due[b][k] || !(profit > 0)) continue;
        real share = part[held < 0][m], lost = absolute(share * held) * cost[held < 0][m];
        if (share == 0) continue;
        out->adl_overshoot_wealth += most(0, share * profit - lost);
        charge[b][k] += lost;
        s->cash[b][k] += share * profit;
        s->contracts[j][b][k] = held * (1 - share);
      }
  for (int b = 0; b < BOOKS; b++)
    for (int k = 0; k < BUCKETS; k++) {
      charge[b][k] = least(charge[b][k], most(worth[b][k], 0));
      s->cash[b][k] -= charge[b][k];
      adl_loss[BOOK_VENUE[b]] += charge[b][k];
      if (!s->taken_over[b][k]) able[BOOK_VENUE[b]] += most(worth[b][k] - charge[b][k], 0);
    }
  real borne[VENUES] = {0};
  for (int v = 0; v < VENUES; v++) {
    rest[v] = most(0, rest[v] - adl_loss[v]);
    out->adl_loss += adl_loss[v];
  }
  for (int b = 0; b < BOOKS; b++) {
    int v = BOOK_VENUE[b];
    real share = able[v] > 0 ? least(1, rest[v] / able[v]) : 0;
    if (share == 0) continue;
    for (int k = 0; k < BUCKETS; k++) {
      real lost = s->taken_over[b][k] ? 0 : share * most(worth[b][k] - charge[b][k], 0);
      s->cash[b][k] -= lost;
      borne[v] += lost;
    }
  }
  for (int v = 0; v < VENUES; v++) {
    out->socialised_loss += borne[v];
    out->unabsorbed_loss += rest[v] - borne[v];
  }
}

static void absorb(const Rules* r, State* s, const Prices* p, const real* sale, const Order* orders, int count,
    Outcomes* out) {
  real deficit[COHORTS], owed[VENUES] = {0}, uncovered[VENUES];
  int wiped_out = 0, needed = 0;
  for (int i = 0; i < count; i++) {
    int b = orders[i].b, k = orders[i].k;
    real worth = worth_of(r, s, b, k, sale, p->closing);
    deficit[i] = orders[i].due && worth < 0 ? -worth : 0;
    if (deficit[i] == 0) continue;
    wiped_out = 1;
    owed[BOOK_VENUE[b]] += deficit[i];
  }
  if (wiped_out) {
    for (int v = 0; v < VENUES; v++) {
      real drawn = least(s->fund[v], owed[v]);
      uncovered[v] = owed[v] > drawn ? 1 - drawn / owed[v] : 0;
      needed |= uncovered[v] > 0;
      s->fund[v] -= drawn;
      out->bad_debt += owed[v];
      out->insurance_drawn += drawn;
    }
    for (int i = 0; i < count; i++) {
      if (deficit[i] == 0) continue;
      s->cash[orders[i].b][orders[i].k] += deficit[i];
      s->taken_over[orders[i].b][orders[i].k] = -1;
    }
    if (needed) share_losses(r, s, p, sale, uncovered, orders, deficit, count, out);
  }
  for (int i = 0; i < count; i++) {
    int b = orders[i].b, k = orders[i].k;
    if (!s->taken_over[b][k]) continue;
    int left = anything_left(s, b, k);
    s->seized[b][k] = left ? -1 : 0;
    if (left || s->cash[b][k] <= 0) continue;
    s->fund[BOOK_VENUE[b]] += s->cash[b][k];
    s->cash[b][k] = 0;
  }
}

// 2.10 what a step's forced sales add
INLINE void observe(const Rules* r, State* s, const Prices* p, const real* received, const real* fundamental,
    const Order* o, int feedback, real* by_market, real* longs, Outcomes* out, int* selling) {
  int b = o->b, k = o->k;
  real forced = 0, units = 0, owed = 0, brought = 0, start = 0;
  for (int j = 0; j < PERP_COUNT[b]; j++) {
    real size = absolute(o->closed[j]), notional = size * p->price[PERP[b][j]];
    start += absolute(r->position[j][b][k]);
    units += size;
    forced += notional;
    by_market[PERP[b][j]] += notional;
    if (r->position[j][b][k] > 0) *longs += notional;
  }
  for (int j = 0; j < PLEDGE_COUNT[b]; j++) {
    int entry = PLEDGE[b][j], asset = ENTRY_ASSET[entry];
    real proceeds = o->sold[j] * received[entry];
    brought += proceeds;
    out->collateral_sold[asset] += proceeds;
    if (IS_PEGGED[asset]) owed += o->sold[j] * most(0, fundamental[asset] - received[entry]);
    if (PERP_COUNT[b]) continue;
    start += r->collateral[j][b][k];
    if (!o->due) continue;
    units += o->sold[j];
    for (int n = 0; n < SALE_COUNT[entry]; n++) {
      real notional = o->sold[j] * SALE_SHARE[entry][n] * p->price[SALE_MARKET[entry][n]];
      by_market[SALE_MARKET[entry][n]] += notional;
      forced += notional;
      *longs += notional;
    }
  }
  out->liquidated_units += units;
  if (!feedback) return;
  if (units > DUST * start && !s->liquidated[b][k]) {
    s->liquidated[b][k] = -1;
    out->liquidated_accounts += r->accounts[b][k];
  }
  if (o->due && forced + brought > 0) *selling = 1;
  if (o->due && !o->taken_over && !o->fails) {
    out->wrongful_liquidations[o->fails_own] += forced;
    out->compensation += owed;
  }
}

INLINE void step(const Rules* r, const Series* x, int t, int feedback, State* s, Outcomes* out, real* forced,
    real* longs, real* topped_up, int* exhausted, int* selling) {
  const real *fundamental = x->fundamental[t], *gate = x->gate_open[t];
  Prices p;
  Order orders[COHORTS];
  int count = 0;
  priced(fundamental, s->decay, p.price);
  publish(r, s, fundamental, t == 0, &p);
  sale_prices(p.price, p.sale);
  for (int m = 0; m < MARKETS; m++) {
    p.liquidity[m] = 1 - r->sensitivity[m] * x->drop[t];
    p.depth[m] = r->depth[m] * p.liquidity[m];
  }
  call_margin(r, s, &p, gate, feedback, out, orders, &count, topped_up);

  real units[MARKETS] = {0}, received[ENTRIES];
  *forced = 0;
  *selling = 0;
  if (count) {
    for (int i = 0; i < count; i++) {
      if (IS_TARGET[orders[i].b]) weigh(r, s, &p, &orders[i]);
      close_perps(r, s, &orders[i], units);
    }
    execute(units, 1, feedback, s, &p);
    for (int i = 0; i < count; i++) sell_collateral(r, s, &p, &orders[i], units);
    execute(units, 0, feedback, s, &p);
    sale_prices(p.average, received);
    real by_market[MARKETS] = {0};
    for (int i = 0; i < count; i++) {
      Order* o = &orders[i];
      if (feedback && o->due && !o->taken_over && !o->fails) o->fails_own = fails_own(r, s, &p, o->b, o->k);
      observe(r, s, &p, received, fundamental, o, feedback, by_market, longs, out, selling);
      settle(r, s, &p, received, o);
    }
    for (int m = 0; m < MARKETS; m++) {
      *forced += by_market[m];
      out->liquidated_notional_by_market[m] += by_market[m];
      out->reported_liquidations += least(by_market[m], r->feed_cap[m] * (real)STEP);
    }
  }
  if (feedback) {
    real pressed[MARKETS];
    if (count) {
      decays(s->y, s->decay);
      priced(fundamental, s->decay, pressed);
    } else memcpy(pressed, p.price, sizeof pressed);
    for (int m = 0; m < MARKETS; m++) {
      out->wick_price[m] = least(out->wick_price[m], pressed[m]);
      *exhausted |= s->y[m] > 20;
    }
    heal(r, s, &p, gate);
    decays(s->y, s->decay);
    priced(fundamental, s->decay, p.closing);
  } else memcpy(p.closing, p.price, sizeof p.closing);
  memcpy(s->last, p.closing, sizeof s->last);
  if (count) {
    real sale[ENTRIES];
    sale_prices(p.closing, sale);
    absorb(r, s, &p, sale, orders, count, out);
  }
  if (!feedback) return;
  real minutes = (real)((t + 1) * STEP);
  for (int m = 0; m < MARKETS; m++) {
    int lower = p.closing[m] < out->trough_price[m];
    out->trough_time[m] = lower ? minutes : out->trough_time[m];
    out->trough_price[m] = lower ? p.closing[m] : out->trough_price[m];
  }
  for (int i = 0; i < ENTRIES; i++) out->trough_index[i] = least(out->trough_index[i], p.index[i]);
  for (int n = 0; n < PEG_COUNT; n++) {
    real parity = p.closing[PEG_MARKET[n]], issuer = fundamental[MARKET_ASSET[PEG_MARKET[n]]];
    for (int i = 0; i < THRESHOLDS; i++) out->depeg_minutes[n][i] += parity < THRESHOLD[i] * issuer ? (real)STEP : 0;
  }
}

INLINE void conclude(const Rules* r, const Series* x, State* s, Outcomes* out, const real* forced, real longs,
    const real* topped_up, int exhausted, int selling) {
  double total = 0, window = 0, peak = 0;
  int end = 0;
  for (int t = 0; t < STEPS; t++) {
    total += forced[t];
    window = 0;
    for (int i = t < WINDOW ? 0 : t - WINDOW + 1; i <= t; i++) window += forced[i];
    if (window > peak) { peak = window; end = t; }
  }
  out->liquidated_notional = (real)total;
  out->long_share = total > 0 ? (real)(longs / total) : NAN;
  out->peak_window_share = total > 0 ? (real)(peak / total) : NAN;
  out->peak_time = total > 0 ? (real)((end + 1) * STEP) : NAN;
  real sale[ENTRIES], sum = 0;
  double open_start = 0, open_end = 0;
  sale_prices(s->last, sale);
  memcpy(out->equity_lost, topped_up, sizeof out->equity_lost);
  for (int b = 0; b < BOOKS; b++)
    for (int k = 0; k < BUCKETS; k++) {
      real worth = worth_of(r, s, b, k, sale, s->last), start = r->cash[b][k];
      for (int j = 0; j < PLEDGE_COUNT[b]; j++) start += r->collateral[j][b][k];
      for (int j = 0; j < PERP_COUNT[b]; j++) {
        start += r->position[j][b][k] * (1 - r->entry[j][b]);
        open_start += absolute(r->position[j][b][k]);
        open_end += absolute(s->contracts[j][b][k]) * s->last[PERP[b][j]];
      }
      sum += worth;
      out->equity_lost[BOOK_VENUE[b]] += most(start, 0);
      if (s->taken_over[b][k]) continue;
      out->equity_lost[BOOK_VENUE[b]] -= most(worth, 0);
      if (s->missed[b][k]) out->missed_loss += most(0, -worth);
    }
  for (int m = 0; m < MARKETS; m++) sum += out->trough_price[m];
  for (int v = 0; v < VENUES; v++) sum += s->fund[v];
  out->open_interest_change = open_start > 0 ? (real)(open_end / open_start - 1) : 0;
  out->status = (real)(selling + 2 * exhausted + 4 * (r->due_at_start > 0) + 8 * !isfinite(sum));
}

INLINE void compare_with_pair(const Series* x, Outcomes* out, real alone) {
  for (int m = 0; m < MARKETS; m++) {
    real fall = 1 - out->trough_price[m], exogenous_fall = 1 - x->trough[MARKET_ASSET[m]];
    out->amplification[m] = exogenous_fall < (real)1e-4 ? NAN : fall / exogenous_fall;
  }
  out->exogenous_liquidations = alone;
  out->reproduction_number = out->liquidated_units == 0 ? 0 : 1 - alone / out->liquidated_units;
}
