// Plans, specs/09-plans.md.

import { Refusal } from "./refusal.js";
import { limit } from "./tables.js";
import { WHITE } from "./text.js";

const WORDS = new RegExp(`[^${WHITE}]+`, "gu");
const STEP = /^([a-z][a-z0-9_-]{0,31}) ?: ?([^ ].*)$/su;
const REFERENCE = /#([0-9]+)(\[[^\]]*\]?)?/gu;
const ITEM = /^\[(-?[1-9][0-9]{0,2})\]$/u;

const isTrue = (truth, what) => {
  if (!truth) throw new Refusal("plan", what);
};
const size = (text) => BigInt(Buffer.byteLength(text));
const words = (text) => text.match(WORDS) ?? [];

export function parse(text) {
  const lines = text.normalize("NFC").split("\n").map((line) => words(line).join(" ")).filter((line) => line !== "");
  isTrue(lines.length > 0 && BigInt(lines.length) <= limit("PLAN_STEPS_MAX"), "number of steps");
  const steps = [];
  for (const line of lines) {
    const match = STEP.exec(line);
    isTrue(match, "no step");
    const [, skill, question] = match;
    isTrue(size(question) <= limit("PLAN_STEP_SIZE_MAX"), "a long step");
    const needs = new Set();
    for (const [, number, item] of question.matchAll(REFERENCE)) {
      isTrue(!number.startsWith("0") && BigInt(number) <= BigInt(steps.length), "no earlier step");
      needs.add(Number(number));
      if (item === undefined) continue;
      const place = ITEM.exec(item);
      isTrue(place && Math.abs(Number(place[1])) <= Number(limit("PLAN_ITEM_MAX")), "no item");
    }
    const depth = 1 + Math.max(0, ...[...needs].map((need) => steps[need - 1].depth));
    isTrue(BigInt(depth) <= limit("PLAN_DEPTH_MAX"), "deep");
    steps.push({ skill, question, needs: [...needs].sort((a, b) => a - b), depth });
  }
  isTrue(steps.slice(0, -1).every((step, place) => steps.some(({ needs }) => needs.includes(place + 1))), "a step not needed");
  const canonical = steps.map(({ skill, question }) => `${skill}: ${question}`).join("\n");
  isTrue(size(canonical) <= limit("ANSWER_SIZE_MAX"), "long");
  return { canonical, steps };
}

// The question of step number `step`, with `answers` of the steps from 1 on.
export function fill({ text, step, answers }) {
  const question = parse(text).steps[Number(step) - 1].question.replace(REFERENCE, (_, number, item) => {
    const answer = answers[Number(number) - 1];
    if (item === undefined) return answer;
    const place = Number(item.slice(1, -1));
    const found = words(answer).at(place > 0 ? place - 1 : place);
    isTrue(found !== undefined, "no such item");
    return found;
  });
  isTrue(size(question) <= limit("QUESTION_SIZE_MAX"), "long when filled");
  return question;
}

function plan({ text }) {
  const { canonical, steps } = parse(text);
  const [needs, depths] = [steps.map((step) => step.needs), steps.map((step) => step.depth)];
  return { text: canonical, needs, depths };
}

// The canonical answer of type `plan`: none for what is no plan.
export function canonicalPlan(text) {
  try {
    return parse(text).canonical;
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}

export const operations = { plan, fill };
