UPDATE turns SET turn = max(turn, :turn) WHERE priority = :priority;
