import { describe, expect, test } from "vitest";
import { argumentsFit, nameFits } from "../../../src/linux/checks/process-names.js";

describe("names that honest programs have", () => {
  test.each([
    ["sh", "-sh"],
    ["sshd", "sshd: root@pts/0"],
    ["nginx", "nginx: worker process"],
    ["python3.11", "/usr/bin/python3"],
    ["php-fpm8.2", "php-fpm: master process (/etc/php/fpm.conf)"],
    ["systemd-journald", "/lib/systemd/systemd-journald"],
  ])("%s fits %s", (name, argument) => {
    expect(argumentsFit(name, [argument])).toBe(true);
  });

  test.each([
    ["ssh", "sshd"],
    ["s", "sshd"],
    ["miner", "/usr/sbin/sshd"],
  ])("%s does not fit %s", (name, argument) => {
    expect(argumentsFit(name, [argument])).toBe(false);
  });

  test("a name is compared as far as the kernel keeps it", () => {
    expect(nameFits("systemd-journal", "systemd-journald")).toBe(true);
    expect(nameFits("systemd-journal", "systemd-logind")).toBe(false);
  });
});
