import assert from "node:assert/strict";
import { test } from "node:test";
import { sessionLimits } from "#runtime/limits.js";

test("a message's limit is brought into its range", () => {
  for (const [given, kept] of [[1, 4 << 10], [5 << 20, 5 << 20], [2 ** 31 - 1, 2040 << 20], [2 ** 40, 2040 << 20]] as const) {
    assert.equal(sessionLimits({ maxMessage: given }, true).maxMessage, kept);
  }
});
