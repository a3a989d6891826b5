// Records in a Map; idle, walked, changed, and again, with garbage in between.
const crypto = require('crypto');
const NR = 60000;
const records = new Map();
for (let i = 0; i < NR; i++)
  records.set(i, JSON.parse(`{"name":"customer ${i * 7919 % NR}","orders":[${i},${i * 2}],"note":"${'x'.repeat(i % 90)}"}`));
function digest() {
  const h = crypto.createHash('sha256');
  for (let i = 0; i < NR; i++) h.update(JSON.stringify(records.get(i)));
  return h.digest('hex');
}
let turn = 0;
function next() {
  console.log(turn, digest());
  for (let i = turn; i < NR; i += 7) records.get(i).orders.push(turn);
  if (++turn < 4) setTimeout(next, 1000 * (process.env.PAUSE || 0));
}
next();
