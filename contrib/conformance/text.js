// White space as specs/08-execution.md lists it, for a class of a regular expression.

export const WHITE = "\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
