/**
 * Types of well-known variables of the kernel. BTF tells those of per-CPU variables, and of few others; kallsyms have none: these are
 * what tools ask for by name. Each is as the file of the kernel declares it that stands beside it.
 */

/** Names of types, as `typeNamed` takes them, by the variable's name. */
export const KNOWN_VARIABLES: Readonly<Record<string, string>> = {
  // Tasks and what they share.
  init_task: "struct task_struct", // init/init_task.c
  init_mm: "struct mm_struct", // mm/init-mm.c
  init_files: "struct files_struct", // fs/file.c
  init_fs: "struct fs_struct", // fs/fs_struct.c
  init_cred: "struct cred", // kernel/cred.c
  init_nsproxy: "struct nsproxy", // kernel/nsproxy.c
  // Before 4.15 (e8cfbc245e24).
  pid_hash: "struct hlist_head *", // kernel/pid.c
  pidhash_shift: "unsigned int", // kernel/pid.c
  cap_last_cap: "int", // kernel/sysctl.c
  // Namespaces.
  init_pid_ns: "struct pid_namespace", // kernel/pid.c
  init_uts_ns: "struct uts_namespace", // init/version.c
  init_user_ns: "struct user_namespace", // kernel/user.c
  init_ipc_ns: "struct ipc_namespace", // ipc/msgutil.c
  init_cgroup_ns: "struct cgroup_namespace", // kernel/cgroup/cgroup.c
  init_time_ns: "struct time_namespace", // kernel/time/namespace.c
  init_net: "struct net", // net/core/net_namespace.c
  net_namespace_list: "struct list_head", // net/core/net_namespace.c
  // Modules, BPF.
  modules: "struct list_head", // kernel/module/main.c
  module_kset: "struct kset *", // kernel/params.c
  prog_idr: "struct idr", // kernel/bpf/syscall.c
  map_idr: "struct idr", // kernel/bpf/syscall.c
  link_idr: "struct idr", // kernel/bpf/syscall.c
  btf_idr: "struct idr", // kernel/bpf/btf.c
  bpf_kallsyms: "struct list_head", // kernel/bpf/core.c
  // Files.
  super_blocks: "struct list_head", // fs/super.c
  file_systems: "struct file_system_type *", // fs/filesystems.c
  mount_hashtable: "struct hlist_head *", // fs/namespace.c
  dentry_hashtable: "struct hlist_bl_head *", // fs/dcache.c
  inode_hashtable: "struct hlist_head *", // fs/inode.c
  chrdevs: "struct char_device_struct *[255]", // fs/char_dev.c (CHRDEV_MAJOR_HASH_SIZE)
  // Sockets.
  socket_file_ops: "struct file_operations", // net/socket.c
  sockfs_dentry_operations: "struct dentry_operations", // net/socket.c
  tcp_hashinfo: "struct inet_hashinfo", // net/ipv4/tcp_ipv4.c
  udp_table: "struct udp_table", // net/ipv4/udp.c
  tcp4_seq_afinfo: "struct tcp_seq_afinfo", // net/ipv4/tcp_ipv4.c
  tcp6_seq_afinfo: "struct tcp_seq_afinfo", // net/ipv6/tcp_ipv6.c
  udp4_seq_afinfo: "struct udp_seq_afinfo", // net/ipv4/udp.c
  udp6_seq_afinfo: "struct udp_seq_afinfo", // net/ipv6/udp.c
  udplite4_seq_afinfo: "struct udp_seq_afinfo", // net/ipv4/udplite.c
  udplite6_seq_afinfo: "struct udp_seq_afinfo", // net/ipv6/udplite.c
  // The log: since 5.10 (896fbe20b4e2) a ring of records, before that a buffer of them.
  prb: "struct printk_ringbuffer *", // kernel/printk/printk.c
  log_buf: "char *", // kernel/printk/printk.c
  log_buf_len: "unsigned int", // kernel/printk/printk.c
  log_first_idx: "unsigned int", // kernel/printk/printk.c
  log_next_idx: "unsigned int", // kernel/printk/printk.c
  saved_command_line: "char *", // init/main.c
  // Memory.
  iomem_resource: "struct resource", // kernel/resource.c
  ioport_resource: "struct resource", // kernel/resource.c
  mem_map: "struct page *", // mm/memory.c
  mem_section: "struct mem_section **", // mm/sparse.c, with CONFIG_SPARSEMEM_EXTREME
  vmemmap_base: "unsigned long", // arch/x86/kernel/head64.c
  page_offset_base: "unsigned long", // arch/x86/kernel/head64.c
  vmalloc_base: "unsigned long", // arch/x86/kernel/head64.c
  phys_base: "unsigned long", // arch/x86/kernel/head_64.S
  slab_caches: "struct list_head", // mm/slab_common.c
  vmap_area_list: "struct list_head", // mm/vmalloc.c, until 6.9 (55c49fee57af)
  nr_swapfiles: "unsigned int", // mm/swapfile.c
  // Devices, interrupts, notifiers.
  tty_drivers: "struct list_head", // drivers/tty/tty_io.c
  keyboard_notifier_list: "struct atomic_notifier_head", // drivers/tty/vt/keyboard.c
  panic_notifier_list: "struct atomic_notifier_head", // kernel/panic.c
  reboot_notifier_list: "struct blocking_notifier_head", // kernel/reboot.c
  idt_table: "gate_desc[256]", // arch/x86/kernel/idt.c (IDT_ENTRIES)
  // Time, work, groups.
  jiffies_64: "unsigned long long", // kernel/time/timer.c
  workqueues: "struct list_head", // kernel/workqueue.c
  cgrp_dfl_root: "struct cgroup_root", // kernel/cgroup/cgroup.c
  cgroup_roots: "struct list_head", // kernel/cgroup/cgroup.c
};
