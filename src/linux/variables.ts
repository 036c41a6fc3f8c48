/** Types of the kernel's own variables that its BTF doesn't describe: it has those of per-CPU variables only. */

/** Names of types by the names of variables. Facts: the variables' declarations; `init_task` is init/init_task.c's, and so on. */
export const KNOWN_VARIABLES: Record<string, string> = {
  init_task: "struct task_struct",
  init_mm: "struct mm_struct",
  init_pid_ns: "struct pid_namespace",
  init_nsproxy: "struct nsproxy",
  init_net: "struct net",
  modules: "struct list_head",
  super_blocks: "struct list_head",
  nr_cpu_ids: "unsigned int",
};
