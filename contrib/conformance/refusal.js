// What a receiving node does with bytes that break a rule: it refuses them, under a code of specs/00-conventions.md.

export class Refusal extends Error {
  constructor(code, message = code) {
    super(message);
    this.code = code;
  }
}

export function demand(holds, code, message) {
  if (!holds) throw new Refusal(code, message);
}
