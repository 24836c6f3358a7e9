// What is generated, loaded: the library must find in the descriptors what the types say.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { create, fromBinary, fromJson, getExtension, setExtension, toBinary, toJson } from "@bufbuild/protobuf";
import type { DescEnum, DescFile, DescMessage } from "@bufbuild/protobuf";
import * as comments from "../../../testdata/comments/typescript/hostile/hostile.ipc.js";
import * as editions from "../../../testdata/editions/typescript/current/current.ipc.js";
import * as imports from "../../../testdata/imports/typescript/a/v1/a.ipc.js";
import * as nested from "../../../testdata/messages/typescript/nested/nested.ipc.js";
import * as scalars from "../../../testdata/messages/typescript/scalars/scalars.ipc.js";
import * as proto2 from "../../../testdata/typescript_proto2/typescript/old/old.ipc.js";
import * as names from "../../../testdata/typescript_names/typescript/reserved/reserved.ipc.js";
import { root } from "./vectors.js";

const modules: Record<string, Record<string, unknown>> = {
  "comments/typescript/hostile/hostile": comments,
  "editions/typescript/current/current": editions,
  "imports/typescript/a/v1/a": imports,
  "messages/typescript/nested/nested": nested,
  "messages/typescript/scalars/scalars": scalars,
  "typescript_proto2/typescript/old/old": proto2,
  "typescript_names/typescript/reserved/reserved": names,
};

for (const [path, module] of Object.entries(modules)) {
  test(`${path}: descriptions are those of their types`, () => {
    const text = readFileSync(join(root, "testdata", `${path}.ipc.ts`), "utf8");
    const described = new Set<string>();
    for (const [name, value] of Object.entries(module)) {
      const desc = value as DescMessage | DescEnum | { kind?: undefined };
      if (desc.kind !== "message" && desc.kind !== "enum") {
        continue;
      }
      described.add(desc.typeName);
      assert.equal(name, `${desc.typeName.slice(desc.file.proto.package.length + 1).replaceAll(".", "_")}Schema`);
      if (desc.kind === "message") {
        checkMessage(text, desc);
      } else {
        checkEnum(module, name, desc);
      }
    }
    const file = Object.values(module).find((v) => (v as DescFile).kind === "file") as DescFile;
    assert.deepEqual([...described].sort(), allNames(file).sort());
  });
}

function allNames(file: DescFile): string[] {
  const all: string[] = file.enums.map((e) => e.typeName);
  const add = (m: DescMessage): void => {
    all.push(m.typeName, ...m.nestedEnums.map((e) => e.typeName));
    m.nestedMessages.forEach(add);
  };
  file.messages.forEach(add);
  return all;
}

/** The type has the members by which the library knows the fields, and no others. */
function checkMessage(text: string, desc: DescMessage): void {
  const block = new RegExp(`<"${desc.typeName.replaceAll(".", "\\.")}">(?: & \\{\n(.*?)\n\\})?;`, "s").exec(text);
  assert.ok(block !== null, desc.typeName);
  const members = [...(block[1] ?? "").matchAll(/^  ("?)([\w$]+)\1\??: /gm)].map((m) => m[2]);
  assert.deepEqual(members, desc.members.map((m) => m.localName));
}

function checkEnum(module: Record<string, unknown>, name: string, desc: DescEnum): void {
  const shape = (module[name.slice(0, -"Schema".length)] ?? module[name.slice(0, -"Schema".length) + "$"]) as Record<string, number>;
  for (const v of desc.values) {
    assert.equal(shape[v.localName], v.number);
  }
}

test("every kind of field goes there and back", () => {
  const message = create(nested.ChoiceSchema, {
    before: "x",
    kind: { case: "tree", value: { name: "root", children: [{ name: "leaf" }], named: { a: { inner: { kind: nested.Tree_Inner_Kind.LEAF, deeper: { data: Uint8Array.of(1, 2) } } } } } },
    other: { case: "two", value: 7n },
  });
  assert.deepEqual(fromBinary(nested.ChoiceSchema, toBinary(nested.ChoiceSchema, message)), message);
  const known = create(nested.WellKnownSchema, { at: { seconds: 5n }, data: { list: [1, "two", null] }, text: "wrapped", numbers: [{ value: 3n }] });
  assert.deepEqual(fromJson(nested.WellKnownSchema, toJson(nested.WellKnownSchema, known)), known);
  const strings = fromBinary(scalars.StringsSchema, toBinary(scalars.StringsSchema, create(scalars.StringsSchema, { one: "-5", many: ["1"], number: 2n })));
  assert.deepEqual([strings.one, strings.many, strings.number], ["-5", ["1"], 2n]);
});

test("extensions and defaults of proto2", () => {
  const message = create(proto2.OldSchema, { name: "n" });
  assert.deepEqual([message.age, message.text, message.color, message.big], [-7, 'quote " and\nline', proto2.Color.GREEN, 18446744073709551615n]);
  setExtension(message, proto2.number$, 5);
  setExtension(message, proto2.inner, create(proto2.Old_InnerSchema, { id: 1n }));
  const back = fromBinary(proto2.OldSchema, toBinary(proto2.OldSchema, message));
  assert.equal(getExtension(back, proto2.number$), 5);
  assert.equal(getExtension(back, proto2.inner).id, 1n);
});
