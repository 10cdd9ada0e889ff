"""From what was denied to the smallest change of the policy's source: records, what they ask for, and the change."""
