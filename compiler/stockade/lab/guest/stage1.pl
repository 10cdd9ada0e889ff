#!/usr/bin/perl
# First program of the guest, from the initramfs: loads the policy, builds what the probes act on, enforces, becomes init.
# Plain Perl without modules: its system calls need nothing but the interpreter. x86_64 numbers.
sub MOUNT () { 165 }
sub FINIT_MODULE () { 313 }
sub MS_RDONLY () { 1 }
sub MS_MOVE () { 8192 }

my $NEW = '/root';

sub fail { die "stage1: $_[0]: $!\n" }

sub mount_on {
    my ($source, $target, $type, $flags, $data) = @_;
    syscall(MOUNT, $source, $target, $type, $flags + 0, $data) == 0 or fail("mount $type on $target ($data)");
}

# One write(2) and its length checked: a policy, a mode and a label are each taken whole or not at all.
sub put {
    my ($path, $bytes) = @_;
    open(my $file, '>', $path) or fail("open $path");
    my $written = syswrite($file, $bytes);
    defined $written && $written == length $bytes or fail("write $path");
    close $file or fail("close $path");
}

sub slurp {
    my ($path) = @_;
    open(my $file, '<', $path) or fail("open $path");
    binmode $file;
    local $/;
    my $bytes = <$file>;
    close $file;
    return $bytes;
}

sub insert_modules {
    opendir(my $folder, '/modules') or fail('open /modules');
    for my $name (sort grep { /\.ko$/ } readdir $folder) {
        open(my $file, '<', "/modules/$name") or fail("open $name");
        my $none = '';
        syscall(FINIT_MODULE, fileno($file) + 0, $none, 0) == 0 or fail("insert $name");
        close $file;
    }
    closedir $folder;
}

sub parents {
    my ($path) = @_;
    my $at = '';
    my @parts = grep { length } split m{/}, $path;
    pop @parts;
    for my $part (@parts) {
        $at .= "/$part";
        -d $at or mkdir($at, 0755) or fail("mkdir $at");
    }
}

# The kernel gives what this process creates next the label written here. A label that the policy does not know would be
# taken too, by force of CAP_MAC_ADMIN, so the policy is asked first.
sub creating {
    put('/sys/fs/selinux/context', "$_[0]\0");
    put('/proc/self/attr/fscreate', "$_[0]\0");
}

sub listen_on {
    my ($path, $label, $owner) = @_;
    pipe(my $ready, my $done) or fail('pipe');
    defined(my $pid = fork) or fail('fork');
    if ($pid) {
        close $done;
        my $word = <$ready>;
        defined $word && $word eq "ready\n" or fail("no listener on $path");
        return;
    }
    close $ready;
    put('/proc/self/attr/sockcreate', "$owner\0");
    creating($label);
    socket(my $server, 1, 1, 0) or fail('socket');
    bind($server, pack('S a*', 1, "$path\0")) or fail("bind $path");
    listen($server, 64) or fail("listen $path");
    syswrite($done, "ready\n");
    close $done;
    sleep 3600 while 1;
}

sub furnish {
    my ($kind, $path, $label, @rest) = @_;
    $path = "$NEW$path";
    parents($path);
    if ($kind eq 'tmpfs') {
        -d $path or mkdir($path, 0755) or fail("mkdir $path");
        mount_on('tmpfs', $path, 'tmpfs', 0, "context=\"$label\"");
        return;
    }
    return listen_on($path, $label, $rest[0]) if $kind eq 'socket';
    if ($label ne '-') { creating($label) }
    if ($kind eq 'folder') { mkdir($path, 0755) or fail("mkdir $path") }
    elsif ($kind eq 'file') { put($path, "$rest[0]\n") }
    elsif ($kind eq 'program') { put($path, slurp("$NEW$rest[0]")) }
    else { fail("unknown fixture $kind") }
    chmod(0755, $path) or fail("chmod $path");
    put('/proc/self/attr/fscreate', "\0") if $label ne '-';
}

mount_on('proc', '/proc', 'proc', 0, '');
mount_on('sysfs', '/sys', 'sysfs', 0, '');
mount_on('devtmpfs', '/dev', 'devtmpfs', 0, '');
put('/proc/sys/kernel/printk_ratelimit', "0\n");    # every denial must reach the console
open(my $channel, '>', '/dev/tty1') or fail('open /dev/tty1');
syswrite($channel, "stockade-lab 1\n");
# Nobody may be left out there to stop a guest that hangs.
defined(my $watch = fork) or fail('fork');
if (!$watch) {
    sleep $ENV{lab_seconds};
    syscall(169, 0xfee1dead, 0x28121969, 0x4321fedc, 0);    # reboot: power off
}
insert_modules();
mount_on('selinuxfs', '/sys/fs/selinux', 'selinuxfs', 0, '');
my $policy = slurp('/policy');
put('/sys/fs/selinux/load', $policy);
syswrite($channel, 'policy ' . length($policy) . "\n");

mount_on('/dev/ubda', $NEW, 'erofs', MS_RDONLY, '');
mount_on('tmpfs', "$NEW/run", 'tmpfs', 0, 'mode=755');
mount_on('tmpfs', "$NEW/lab", 'tmpfs', 0, 'mode=755');
my @probes;
for my $line (split /\n/, slurp('/plan')) {
    my ($kind, @fields) = split /\t/, $line, -1;
    if ($kind eq 'probe') { push @probes, join("\t", @fields) . "\n" }
    else { furnish($kind, @fields) }
}
put("$NEW/run/plan", join('', @probes)) if @probes;

for my $name ('proc', 'sys', 'dev') {
    mount_on("/$name", "$NEW/$name", 'none', MS_MOVE, '');
}
chdir $NEW or fail('chdir');
mount_on('.', '/', 'none', MS_MOVE, '');
chroot '.' or fail('chroot');
chdir '/' or fail('chdir /');
# The console of the initramfs would be re-checked, and lost, at the exec below.
open(STDIN, '<', '/dev/console') or fail('console');
open(STDOUT, '>', '/dev/console') or fail('console');
open(STDERR, '>', '/dev/console') or fail('console');
put('/sys/fs/selinux/enforce', '1');
exec { '/usr/lib/systemd/systemd' } 'init' or fail('exec init');
